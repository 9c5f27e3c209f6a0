"""Laws of the running batch: a request's result is its own, whatever else is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from test_sampler import PROMPTS, request
from tiny_models import randomise, run_spec, tiny_base

from tinker_engine.config import EngineConfig
from tinker_engine.errors import NonFiniteError, RequestError
from tinker_engine.models.llama_panes import CacheShape, LlamaPrompt, Pane, pane_positions
from tinker_engine.runtime import sample_batch
from tinker_engine.runtime.prefix_cache import PrefixCache
from tinker_engine.runtime.records import SampleRequest, SampleResult
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.runtime.torch_backend import TorchBackend

LONG = [int(t) for t in np.random.default_rng(7).integers(0, 96, 50)]


def backend_with_adapters(tmp_path: Any, precision: str = "fp32", **changes: Any) -> TorchBackend:
    """Samplers `base`, `one` and `two`, of different ranks and targets."""
    config = EngineConfig(microbatch_tokens=64, precision=precision, **changes)  # pyright: ignore
    backend = TorchBackend(tiny_base("llama"), config)
    backend.create_sampler("base", None)
    specs = {"one": run_spec(), "two": run_spec(rank=3, targets=("q_proj", "down_proj", "lm_head"))}
    for seed, (name, spec) in enumerate(specs.items()):
        backend.create_run(name, spec, tmp_path / f"l{name}")
        randomise(backend, name, seed)
        backend.save_adapter(name, tmp_path / name)
        backend.create_sampler(name, tmp_path / name)
    return backend


def answers(
    backend: TorchBackend, asked: Iterable[tuple[str, SampleRequest]], *, apart: int = 0
) -> list[SampleResult | Exception]:
    """Results in order from the running batch; each request comes `apart` steps after the last."""
    tickets: list[object] = []
    found: dict[object, SampleResult | Exception] = {}
    for sampler, each in asked:
        tickets.append(backend.begin_sample(sampler, each, Watch()))
        for _ in range(apart):
            found.update(backend.step_samples())
    for _ in range(400):
        if len(found) == len(tickets):
            return [found[ticket] for ticket in tickets]
        found.update(backend.step_samples())
    raise AssertionError("the batch did not end")


def assert_same(ours: Any, theirs: Any, atol: float) -> None:
    assert [s.tokens for s in ours.sequences] == [s.tokens for s in theirs.sequences]
    for a, b in zip(ours.sequences, theirs.sequences, strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, rtol=0, atol=atol)


MIXED = [
    ("one", request(PROMPTS[2], temperature=1.0, seed=3, num_samples=3, max_tokens=20)),
    ("base", request(PROMPTS[1], temperature=0.0, max_tokens=12)),
    ("two", request(LONG, temperature=1.2, top_p=0.9, seed=4, max_tokens=14)),
    ("one", request(PROMPTS[0], temperature=0.7, top_k=5, seed=5, num_samples=2)),
    ("two", request(PROMPTS[2], temperature=1.0, seed=6, prompt_logprobs=True)),
    ("base", request(LONG, temperature=1.0, seed=7, max_tokens=5)),
]


@pytest.mark.parametrize(("precision", "atol"), [("fp32", 1e-5), ("bf16", 0.0)])
@pytest.mark.parametrize("apart", [0, 1, 3])
def test_mixed_adapters_in_one_batch_equal_each_alone(tmp_path, precision, atol, apart):
    together = answers(backend_with_adapters(tmp_path, precision), MIXED, apart=apart)
    alone = backend_with_adapters(tmp_path / "again", precision, prefix_memory_bytes=0)
    for (sampler, asked), ours in zip(MIXED, together, strict=True):
        assert_same(ours, answers(alone, [(sampler, asked)])[0], atol)


def test_adapters_beside_the_base_equal_merged_ones(tmp_path, monkeypatch):
    merged = backend_with_adapters(tmp_path)
    beside = backend_with_adapters(tmp_path / "again")
    monkeypatch.setattr("tinker_engine.runtime.sample_models._merges", lambda _m, is_alone: False)
    results = answers(beside, MIXED)
    monkeypatch.undo()
    for (sampler, asked), ours in zip(MIXED, results, strict=True):
        assert_same(ours, answers(merged, [(sampler, asked)])[0], 1e-5)


def test_a_shared_prefix_changes_nothing(tmp_path):
    backend = backend_with_adapters(tmp_path)
    first = request(LONG[:40], max_tokens=6)
    (said,) = answers(backend, [("one", first)])
    assert isinstance(said, SampleResult)
    turns = [
        ("one", request([*LONG[:40], *said.sequences[0].tokens, 9, 8])),
        ("one", request(LONG[:45])),
        ("base", request(LONG[:45])),
    ]
    reused = answers(backend, turns)
    # The first turn goes on behind all the answer but its last token, the second behind LONG[:40];
    # the base has read nothing yet.
    assert backend.sampling_figures()["prefix_tokens_reused"] == 45 + 40
    fresh = backend_with_adapters(tmp_path / "again", prefix_memory_bytes=0)
    for turn, ours in zip(turns, reused, strict=True):
        assert_same(ours, answers(fresh, [turn])[0], 1e-5)
    assert fresh.sampling_figures()["prefix_tokens_reused"] == 0


def test_requests_that_wait_together_read_a_common_beginning_once(tmp_path):
    backend = backend_with_adapters(tmp_path)
    asked = [("one", request([*LONG[:40], last])) for last in (1, 2, 3)]
    together = answers(backend, asked)
    assert backend.sampling_figures()["prefix_tokens_reused"] == 2 * 40
    alone = backend_with_adapters(tmp_path / "again", prefix_memory_bytes=0)
    for each, ours in zip(asked, together, strict=True):
        assert_same(ours, answers(alone, [each])[0], 1e-5)


def test_prompts_read_in_pieces_give_the_same(tmp_path, monkeypatch):
    whole = answers(backend_with_adapters(tmp_path), MIXED)
    monkeypatch.setattr("tinker_engine.models.llama_decoder.LlamaDecoder.piece_tokens", 16)
    monkeypatch.setattr(sample_batch, "READ_IDLE", 16)
    monkeypatch.setattr(sample_batch, "READ_RUNNING", 8)
    for ours, theirs in zip(
        answers(backend_with_adapters(tmp_path / "again"), MIXED), whole, strict=True
    ):
        assert_same(ours, theirs, 1e-5)


def test_a_long_prompt_stalls_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("tinker_engine.models.llama_decoder.LlamaDecoder.piece_tokens", 8)
    monkeypatch.setattr(sample_batch, "READ_RUNNING", 8)
    backend = backend_with_adapters(tmp_path)
    told: list[int] = []
    backend.begin_sample("base", request([5], max_tokens=30), Watch(lambda e: told.append(e.token)))
    backend.step_samples()
    backend.begin_sample("one", request(LONG), Watch())
    for step in range(1, 6):
        backend.step_samples()
        assert len(told) == step + 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_damaged_adapter_fails_alone(tmp_path, precision):
    backend = backend_with_adapters(tmp_path, precision)
    backend.training_run("two").values[:] = 1e38
    backend.save_adapter("two", tmp_path / "damaged")
    backend.create_sampler("damaged", tmp_path / "damaged")
    asked = [MIXED[0], ("damaged", request(PROMPTS[1])), MIXED[1], ("damaged", request(LONG))]
    results = answers(backend, asked)
    assert [isinstance(r, NonFiniteError) for r in results] == [False, True, False, True]
    alone = backend_with_adapters(tmp_path / "again", precision)
    for place in (0, 2):
        assert_same(results[place], answers(alone, [asked[place]])[0], 1e-5)


def test_a_watcher_that_raises_fails_its_own_request(tmp_path):
    backend = backend_with_adapters(tmp_path)

    def broken(_event: object) -> None:
        raise ValueError("nobody listens")

    one = backend.begin_sample("base", request([1, 2]), Watch(broken))
    two = backend.begin_sample("base", request([1, 2]), Watch())
    found: dict[object, Any] = {}
    while len(found) < 2:
        found.update(backend.step_samples())
    assert isinstance(found[one], ValueError)
    assert len(found[two].sequences[0].tokens) == 8


def test_cancelled_requests_free_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_batch, "MOST_ROWS", 4)
    backend = backend_with_adapters(tmp_path)
    gone: list[bool] = []
    backend.begin_sample(
        "one", request([1, 2], num_samples=4, max_tokens=40), Watch(is_cancelled=lambda: bool(gone))
    )
    waits = backend.begin_sample("base", request([3, 4], max_tokens=3), Watch())
    for _ in range(5):
        assert backend.step_samples() == []
    assert backend.sampling_figures()["sampling_rows"] == 4
    gone.append(True)
    ((_, error),) = backend.step_samples()
    assert isinstance(error, RequestError)
    assert backend.sampling_figures()["sampling_rows"] == 1
    ended = [*backend.step_samples(), *backend.step_samples()]
    assert [ticket for ticket, _ in ended] == [waits]


def test_memory_is_bounded_and_what_never_fits_is_refused(tmp_path):
    row = CacheShape(2, 2, 8, torch.float32).bytes_for(64)
    tight = backend_with_adapters(tmp_path)
    tight._samplers._batch._limit = row
    with pytest.raises(RequestError, match=r"sample_memory_bytes"):
        tight.begin_sample("base", request([1], max_tokens=30), Watch())
    tight._samplers._batch._limit = 3 * row
    many = request([1, 2], num_samples=6, temperature=1.0, seed=9)
    tight.begin_sample("base", many, Watch())
    most, ended = 0, []
    while not ended:
        ended = tight.step_samples()
        most = max(most, int(tight.sampling_figures()["sampling_rows"] or 0))
    assert most == 2
    free = backend_with_adapters(tmp_path / "again")
    assert_same(ended[0][1], answers(free, [("base", many)])[0], 1e-5)


def test_a_step_that_fails_ends_what_runs_and_the_batch_goes_on(tmp_path, monkeypatch):
    backend = backend_with_adapters(tmp_path)
    ticket = backend.begin_sample("base", request([1, 2]), Watch())
    backend.step_samples()
    monkeypatch.setattr("tinker_engine.models.llama_decoder.LlamaDecoder.advance", lambda *_: 1 / 0)
    ((failed, error),) = backend.step_samples()
    assert failed is ticket
    assert isinstance(error, ZeroDivisionError)
    monkeypatch.undo()
    (after,) = answers(backend, [("base", request([1, 2]))])
    assert isinstance(after, SampleResult)


def test_the_gap_between_sampler_and_trainer_is_known(tmp_path):
    backend = backend_with_adapters(tmp_path)
    assert backend.sampling_figures()["largest_logprob_gap"] is None
    answers(backend, MIXED)
    gap = backend.sampling_figures()["largest_logprob_gap"]
    assert gap is not None
    assert gap < 1e-4


def test_slots_are_freed_and_rows_keep_theirs():
    shape = CacheShape(1, 1, 4, torch.float32)
    pane = Pane.empty(shape, 8)
    rng = np.random.default_rng(0)
    for row in range(7):
        cache = torch.full((1, 2, 1, 3, 4), float(row))
        pane.add([row], LlamaPrompt(np.zeros(3, np.int64), cache, 3), 3)
    while pane.owners:
        count = int(rng.integers(1, len(pane.owners) + 1))
        slots = rng.choice(len(pane.owners), count, replace=False).tolist()
        left = [row for slot, row in enumerate(pane.owners) if slot not in slots]
        pane.remove(slots, wipe=bool(rng.integers(2)))
        assert sorted(pane.owners) == sorted(left)
        for slot, row in enumerate(pane.owners):
            assert torch.equal(pane.keys[0, slot, 0, :, :3], torch.full((4, 3), float(row)))
            assert torch.equal(pane.values[0, slot, 0, :3], torch.full((3, 4), float(row)))


def test_panes_hold_what_they_are_for_with_little_to_spare():
    for needed in range(1, 3000):
        size = pane_positions(needed)
        assert needed <= size <= max(64, 1.5 * needed)


def test_prefixes_are_bounded_and_the_longest_is_found():
    class Read:
        def __init__(self, tokens: list[int]) -> None:
            self.tokens = np.array(tokens)
            self.size_bytes = len(tokens)

    cache = PrefixCache(40)
    cache.put("a", Read(list(range(20))))
    cache.put("a", Read([*range(12), 50, 51]))
    assert cache.longest("a", np.array([*range(12), 50, 51, 52]))[1] == 14
    assert cache.longest("a", np.array(range(20)))[1] == 19
    assert cache.longest("b", np.array(range(20))) == (None, 0)
    cache.put("a", Read([*range(20), 21]))
    assert cache.size_bytes == 14 + 21
    cache.put("a", Read(list(range(100, 120))))
    assert cache.size_bytes <= 40
    assert cache.longest("a", np.array(range(100, 130)))[1] == 20
