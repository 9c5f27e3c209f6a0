"""After a restart everything still belongs to the key that made it, and to no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lives import PRIVATE, Life

from tinker_engine.errors import NotFoundError, QuotaError
from tinker_engine.models.base_model import LoadedBase, load_base
from tinker_engine.privacy import Ledger
from tinker_engine.runtime.callers import Caller, Limits, acting_for, current_caller
from tinker_engine.runtime.futures import Failure
from tinker_engine.runtime.records import TrainRequest
from tinker_engine.runtime.submissions import Submission

ANNA, BERT = Caller("anna"), Caller("bert")

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


def test_what_comes_back_keeps_its_owner(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    with acting_for(ANNA):
        run = first.new_run()
        session_id = run.partition(":")[0]
        sampler_id = f"{session_id}:sample:0"
        first.outcome(first.learn(run, 1))
        where = Submission(run, 2, "snapshot", "k")
        first.outcome(first.engine.runs.snapshot(where, session_id, sampler_id))
        with first.held():
            first.step(run, 3)
            second = begin(first.copy(tmp_path / "second"))
    # It is another key that asks first, for all that there is.
    with acting_for(BERT):
        assert not second.engine.is_request_mine(f"{run}:1")
        for ask in (
            lambda: second.learn(run, 4),
            lambda: second.engine.runs.live(run),
            lambda: second.engine.runs.spec(run),
            lambda: second.engine.samplers.get(sampler_id),
            lambda: second.engine.samplers.log(sampler_id, 0),
            lambda: second.engine.samplers.join(sampler_id),
        ):
            with pytest.raises(NotFoundError):
                ask()
    assert second.engine.runs.count() == 0
    with acting_for(ANNA):
        step = second.outcome(f"{run}:3")
        assert isinstance(step, dict)
        assert step["metrics"]["optimizer_step"] == 1.0
        assert second.engine.samplers.get(sampler_id).session_id == session_id
    assert second.engine.runs.count("anna") == 1
    # Now that it is in memory, nothing has changed for the other one.
    with acting_for(BERT), pytest.raises(NotFoundError):
        second.learn(run, 4)


def test_a_replay_runs_as_the_owner_and_alone(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    assert first.engine._recovery is not None
    first.engine._recovery._credit_s = -1e9
    with acting_for(ANNA):
        run = first.new_run()
        first.outcome(first.learn(run, 1))
        with first.held():
            first.learn(run, 2)
            second = begin(first.copy(tmp_path / "second"))
    seen: list[str | None] = []
    backend = second.engine._backend
    alone = backend.forward_backward

    def watched(run_id: str, data: object, loss: object) -> object:
        caller = current_caller()
        seen.append(caller.owner if caller else None)
        return alone(run_id, data, loss)  # type: ignore[arg-type]

    def never(requests: list[TrainRequest]) -> object:
        raise AssertionError(requests)

    backend.forward_backward = watched  # type: ignore[assignment,method-assign]
    backend.forward_backward_jointly = never  # type: ignore[assignment,method-assign]
    # Taken up by the engine itself, as housekeeping would.
    assert not isinstance(second.outcome(f"{run}:2"), Failure)
    assert seen == ["anna", "anna"]


def test_a_run_that_came_back_counts_and_a_refused_one_leaves_nothing(
    begin: Begin, tmp_path: Path
) -> None:
    limited = Caller("anna", Limits(max_runs=1))
    first = begin()
    with acting_for(limited):
        run = first.new_run()
        first.outcome(first.learn(run, 1))
        second = begin(first.copy(tmp_path / "second"))
        second.outcome(f"{run}:1")
        with pytest.raises(QuotaError):
            second.new_run(1)
        third = begin(second.copy(tmp_path / "third"))
        with pytest.raises(NotFoundError):
            third.learn(f"{run.partition(':')[0]}:train:1", 1)


def test_a_repeated_private_step_never_releases_a_second_update(
    begin: Begin, tmp_path: Path
) -> None:
    first = begin()
    assert first.engine._recovery is not None
    first.engine._recovery._credit_s = -1e9
    run = first.new_run(privacy=PRIVATE)
    for request_id in (first.learn(run, 1), first.step(run, 2)):
        first.outcome(request_id)
    home = first.copy(tmp_path / "second")
    folder = first.engine.folders.ledger_dir(run).relative_to(first.home)
    ledger = Ledger.open(home / folder)
    ledger._db.execute("DELETE FROM updates")
    ledger.close()
    second = begin(home)
    failed = second.outcome(second.learn(run, 3))
    assert isinstance(failed, Failure)
    assert "second one must not be released" in failed.message
    ledger = Ledger.open(home / folder)
    assert len(ledger.events) == 1
    ledger.close()
