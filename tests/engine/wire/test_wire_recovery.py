"""What the next engine on a home goes on with: runs, requests, answers, samplers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from lives import PRIVATE, Life

from tinker_engine.errors import ConflictingRetryError, NotFoundError, ServerUnavailableError
from tinker_engine.models.base_model import LoadedBase, load_base
from tinker_engine.privacy import Ledger
from tinker_engine.protocol.requests import SampleBody
from tinker_engine.runtime.futures import Failure, Outcome
from tinker_engine.runtime.records import LossOutput, SampleResult
from tinker_engine.runtime.submissions import Submission

Begin = Callable[..., Life]


@pytest.fixture(scope="module")
def base() -> LoadedBase:
    return load_base("nano")


@pytest.fixture
def begin(base: LoadedBase, tmp_path: Path) -> Iterator[Begin]:
    lives: list[Life] = []

    def make(home: Path | None = None, **config: object) -> Life:
        lives.append(Life(base, home or tmp_path / "home", **config))
        return lives[-1]

    yield make
    for life in lives:
        life.close()


def same(one: Outcome, other: Outcome) -> bool:
    if isinstance(one, LossOutput) and isinstance(other, LossOutput):
        pairs = zip(
            [*one.logprobs, *one.elementwise_loss],
            [*other.logprobs, *other.elementwise_loss],
            strict=True,
        )
        is_equal = all(np.array_equal(a, b) for a, b in pairs)
        return is_equal and (one.loss_sum, one.metrics) == (other.loss_sum, other.metrics)
    return one == other


@pytest.mark.parametrize("saves", [True, False], ids=["saved states", "replay alone"])
@pytest.mark.parametrize("privacy", [None, PRIVATE], ids=["plain", "private"])
def test_a_run_goes_on_as_if_nothing_had_happened(
    begin: Begin, tmp_path: Path, saves: bool, privacy: object
) -> None:
    first = begin()
    assert first.engine._recovery is not None
    first.engine._recovery._credit_s = 1e9 if saves else -1e9
    run = first.new_run(privacy=privacy)  # type: ignore[arg-type]
    asked = []
    for step in range(3):
        asked += [first.learn(run, 2 * step + 1), first.step(run, 2 * step + 2)]
    asked.append(first.learn(run, 7, [9, 8, 7, 6]))
    answers = [first.outcome(request_id) for request_id in asked]
    second = begin(first.copy(tmp_path / "second"))
    # What was answered is answered the same, whether it is fetched or sent again.
    assert all(same(second.outcome(i), a) for i, a in zip(asked, answers, strict=True))
    assert second.learn(run, 7, [9, 8, 7, 6]) == asked[-1]
    with pytest.raises(ConflictingRetryError):
        second.learn(run, 7, [1, 2, 3])
    ends = []
    for life in (first, second):
        life.step(run, 8) if privacy is None else life.learn(run, 8)
        life.outcome(life.save(run, 9, "end"))
        ends.append(life.adapter_digest(run, "end"))
    assert {k: ends[0][k] for k in WEIGHTS} == {k: ends[1][k] for k in WEIGHTS}
    if privacy is not None:
        ledger = Ledger.open(second.engine.folders.ledger_dir(run))
        assert len(ledger.events) == 3
        ledger.close()


WEIGHTS = ("adapter_model.safetensors", "optimizer.safetensors")


def test_accepted_requests_are_done_once_and_in_order(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    run = first.new_run()
    first.outcome(first.learn(run, 1))
    with first.held():
        asked = [
            first.step(run, 2),
            first.save(run, 3, "one"),
            # Their turn comes when place 4 has arrived.
            first.step(run, 6),
            first.learn(run, 5),
        ]
        second = begin(first.copy(tmp_path / "second"))
    assert second.step(run, 2) == asked[0]
    assert second.outcome(asked[1]) == {
        "type": "save_weights",
        "path": f"tinker://{run}/weights/one",
    }
    second.learn(run, 4)
    for life in (first, second):
        life.learn(run, 4)
        step = life.outcome(asked[2])
        assert isinstance(step, dict)
        assert step["metrics"]["optimizer_step"] == 2.0
        life.outcome(life.save(run, 7, "two"))
    assert first.adapter_digest(run, "one") == second.adapter_digest(run, "one")
    assert first.adapter_digest(run, "two") == second.adapter_digest(run, "two")


def test_work_that_was_done_but_not_noted_is_done_again(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    assert first.engine._recovery is not None
    first.engine._recovery._credit_s = -1e9
    run = first.new_run()
    for request_id in (first.learn(run, 1), first.step(run, 2), first.save(run, 3, "one")):
        first.outcome(request_id)
    home = first.copy(tmp_path / "second")
    log = next((home / "runs").glob("*/log/*.log"))
    # The process died within its last record, which says that the checkpoint was saved.
    log.write_bytes(log.read_bytes()[:-3])
    second = begin(home)
    again = second.outcome(f"{run}:3")
    assert again == {"type": "save_weights", "path": f"tinker://{run}/weights/one"}
    assert second.adapter_digest(run, "one") == first.adapter_digest(run, "one")
    # A name that was taken before stays taken.
    taken = second.outcome(second.save(run, 4, "one"))
    assert isinstance(taken, Failure)
    assert "exists already" in taken.message


def test_a_run_that_was_being_created_is_created(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    with first.held():
        session = first.engine.create_session(
            sdk_version="test", display_name=None, user_metadata=None, retry_key="one"
        )
        from tinker_engine.runtime.records import RunSpec
        from tinker_engine.runtime.submissions import NewRun

        good = NewRun(session, 0, "nano", "d", spec=RunSpec(4, 8.0, ("q_proj",), seed=3))
        bad = NewRun(session, 1, "nano", "d", spec=RunSpec(4, 8.0, ("no_such",), seed=3))
        ids = [first.engine.runs.create(new) for new in (good, bad)]
        second = begin(first.copy(tmp_path / "second"))
    assert second.outcome(ids[0]) == {"type": "create_model", "model_id": good.run_id}
    failed = second.outcome(ids[1])
    assert isinstance(failed, Failure)
    third = begin(second.copy(tmp_path / "third"))
    assert third.outcome(ids[1]) == failed
    assert third.engine.runs.create(good) == ids[0]
    assert not isinstance(third.outcome(third.learn(good.run_id, 1)), Failure)


def test_a_damaged_state_fails_its_run_alone(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    runs = [first.new_run(number) for number in range(2)]
    for run in runs:
        first.outcome(first.learn(run, 1))
        first.outcome(first.step(run, 2))
    first.engine.pause()
    first.engine.halt()
    with pytest.raises(ServerUnavailableError):
        first.learn(runs[0], 3)
    first.engine.close()
    state = next((first.home / "runs").glob(f"{runs[0].replace(':', '-')}/log/*.state"))
    content = bytearray(state.read_bytes())
    content[-5] ^= 1
    state.write_bytes(content)
    second = begin(first.home)
    failed = second.outcome(second.learn(runs[0], 3))
    assert isinstance(failed, Failure)
    assert failed.category == "server"
    assert "checksum" in failed.message
    assert not isinstance(second.outcome(second.learn(runs[1], 3)), Failure)


def test_what_is_over_does_not_come_back(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    runs = [first.new_run(number) for number in range(2)]
    asked = first.engine.runs.unload(Submission(runs[0], None, "d", "key"))
    first.outcome(asked)
    second = begin(first.copy(tmp_path / "second"))
    assert second.outcome(asked) == {"type": "unload_model", "model_id": runs[0]}
    with pytest.raises(NotFoundError, match="not loaded"):
        second.learn(runs[0], 1)
    # The other run ends with its session, although it was not even loaded again.
    second.engine.finish_session(runs[1].partition(":")[0], "success")
    with pytest.raises(NotFoundError, match="not loaded"):
        second.learn(runs[1], 1)


def test_an_idle_run_leaves_memory_and_returns(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinker_engine.runtime import training_requests

    life = begin()
    run = life.new_run()
    for request_id in (life.learn(run, 1), life.step(run, 2), life.learn(run, 3)):
        life.outcome(request_id)
    monkeypatch.setattr(training_requests, "_BUSY_S", 0.0)
    life.engine.runs.park(run)
    life.engine.on_compute_thread(lambda: None)
    assert life.engine.runs.count() == 0
    step = life.outcome(life.step(run, 4))
    assert isinstance(step, dict)
    assert step["metrics"]["optimizer_step"] == 2.0


def test_samplers_are_opened_again_and_lost_samples_are_told(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    run = first.new_run()
    first.outcome(first.learn(run, 1))
    first.outcome(first.step(run, 2))
    sampler_id = f"{run.partition(':')[0]}:sample:0"
    where = Submission(run, 3, "snapshot", "k")
    session_id = run.partition(":")[0]
    first.outcome(first.engine.runs.snapshot(where, session_id, sampler_id))
    assert first.engine.samplers.join(sampler_id) == 1
    answered = sample(first, sampler_id, 1_000_000_000)
    with first.held():
        lost = submit_sample(first, sampler_id, 1_000_000_001)
        second = begin(first.copy(tmp_path / "second"))
    log = second.engine.samplers.log(sampler_id, 1)
    import asyncio

    completions, _ = asyncio.run(log.after(0, 1))
    told = {c.request_id: c.size_bytes for c in completions}
    assert told[lost] is None
    with pytest.raises(NotFoundError):
        second.outcome(lost)
    # Sent again under a new number, it gets what it would have got.
    assert sample(second, sampler_id, 1_000_000_002) == answered
    assert second.engine.samplers.join(sampler_id) == 2


def submit_sample(life: Life, sampler_id: str, seq: int) -> str:
    body = SampleBody.model_validate(
        {
            "prompt": {"chunks": [{"type": "encoded_text", "tokens": [5, 6]}]},
            "sampling_params": {"max_tokens": 4, "temperature": 0.0},
            "num_samples": 1,
            "seq_id": seq,
        }
    )
    sampler = life.engine.samplers.get(sampler_id)
    return life.engine.samplers.submit(life.engine.queue, sampler, body, f"d{seq}", "k")


def sample(life: Life, sampler_id: str, seq: int) -> list[int]:
    outcome = life.outcome(submit_sample(life, sampler_id, seq))
    assert isinstance(outcome, SampleResult), outcome
    return outcome.sequences[0].tokens


def test_a_run_of_another_base_waits_for_its_own(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    run = first.new_run()
    first.outcome(first.learn(run, 1))
    home = first.copy(tmp_path / "second")
    second = begin(home)
    info = second.engine._backend.base
    other = dataclasses.replace(info, digest="0" * 64)
    second.engine._backend._base = dataclasses.replace(  # type: ignore[attr-defined]
        second.engine._backend._base,  # type: ignore[attr-defined]
        info=other,
    )
    with pytest.raises(NotFoundError):
        second.step(run, 2)
    assert begin(second.copy(tmp_path / "third")).step(run, 2) == f"{run}:2"
