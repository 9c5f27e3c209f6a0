"""Whose turn it is: runs share passes, take turns, keep their order, and don't hurt each other."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_models import PRIVATE, random_data, randomise, relative_error

from tinker_engine.runtime.futures import Failure, Future, FutureTable
from tinker_engine.runtime.jobs import GradientWork, Job, JointWork
from tinker_engine.runtime.records import AdamParams, LossOutput, TrainDatum, TrainRequest
from tinker_engine.runtime.torch_backend import TorchBackend
from tinker_engine.runtime.training_line import TrainingLine
from tinker_engine.storage.database import Database
from tinker_engine.storage.store import Store

NAMES = ("a", "b", "c", "private")


class Bench:
    """A backend with four runs and a line in front of it, worked off turn by turn."""

    def __init__(self, backend: TorchBackend, futures: FutureTable, *, merges: bool) -> None:
        self.backend = backend
        self.line = TrainingLine(futures, backend if merges else None)
        self.futures = futures
        self.finished: list[str] = []
        self._lock = threading.Condition()

    def put(self, run: str, name: str, work: Callable[[], object]) -> Future:
        future, _ = self.futures.register(
            f"{run}:{name}",
            kind="internal",
            digest="",
            run_id=run,
            on_done=lambda done: self.finished.append(done.request_id),
        )
        joint = None
        if isinstance(work, GradientWork):
            joint = JointWork(work.wanted.rows, work.request)
        self.line.extend([Job(future, work, joint)])
        return future

    def put_gradient(self, run: str, name: str, data: list[TrainDatum]) -> Future:
        request = TrainRequest(run, data, "cross_entropy")
        return self.put(run, name, GradientWork(self.backend, request, lambda: None))

    def put_step(self, run: str, name: str) -> Future:
        def step() -> dict[str, object]:
            return {"step": self.backend.optim_step(run, AdamParams(learning_rate=1e-2)).step}

        return self.put(run, name, step)

    def turn(self) -> bool:
        """One turn; False when nothing is left."""
        with self._lock:
            turn = self.line.next_turn(self._lock)
        if turn is None:
            return False
        turn()
        return True

    def work_off(self) -> int:
        """All turns; how many there were."""
        count = 0
        while self.turn():
            count += 1
        assert len(self.line) == 0
        return count


@pytest.fixture
def make_bench(make_backend, make_spec, tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'db'}")
    database.migrate()
    made = iter(range(10))

    def make(*, merges: bool = True) -> Bench:
        folder = tmp_path / str(next(made))
        backend = make_backend("llama")
        for seed, name in enumerate(NAMES):
            privacy = PRIVATE if name == "private" else None
            spec = make_spec(rank=seed + 1, seed=seed, privacy=privacy)
            backend.create_run(name, spec, folder / name)
            randomise(backend, name, seed)
        return Bench(backend, FutureTable(Store(database), "engine", 10_000), merges=merges)

    yield make
    database.close()


def accumulated(bench: Bench, run: str) -> torch.Tensor:
    return bench.backend.training_run(run).accumulator.double()


def test_short_requests_share_a_pass_and_get_their_own_gradients(make_bench):
    bench, alone = make_bench(), make_bench()
    data = {name: random_data(2, seed=k) for k, name in enumerate(NAMES)}
    futures = [bench.put_gradient(name, "1", data[name]) for name in NAMES]
    assert bench.work_off() == 1
    for name, future in zip(NAMES, futures, strict=True):
        assert isinstance(future.outcome, LossOutput)
        alone.backend.forward_backward(name, data[name], "cross_entropy")
        assert relative_error(accumulated(bench, name), accumulated(alone, name)) < 1e-5


def test_jobs_of_a_run_keep_their_order(make_bench):
    bench, alone = make_bench(), make_bench()
    data = [random_data(2, seed=k) for k in range(3)]
    for k in range(3):
        for name in ("a", "b"):
            bench.put_gradient(name, f"gradient-{k}", data[k])
            bench.put_step(name, f"step-{k}")
    bench.work_off()
    for name in ("a", "b"):
        order = [f"{name}:{kind}-{k}" for k in range(3) for kind in ("gradient", "step")]
        assert [done for done in bench.finished if done.startswith(name)] == order
        for k in range(3):
            alone.backend.forward_backward(name, data[k], "cross_entropy")
            alone.backend.optim_step(name, AdamParams(learning_rate=1e-2))
        ours, theirs = (b.backend.training_run(name).values.double() for b in (bench, alone))
        assert relative_error(ours, theirs) < 1e-4


def test_a_huge_request_and_a_flood_hold_nobody_up(make_bench):
    bench, alone = make_bench(), make_bench()
    huge = random_data(60)
    bench.put_gradient("a", "huge", huge)
    for k in range(20):
        bench.put_gradient("b", f"flood-{k}", random_data(1, seed=k))
    assert bench.turn()
    bench.put_gradient("c", "small", random_data(1))
    bench.put_gradient("private", "small", random_data(1))
    waited = 0
    while "c:small" not in bench.finished:
        assert bench.turn()
        waited += 1
    # At most what was under way, one turn of each other run, and the joint pass.
    assert waited <= len(NAMES)
    assert "private:small" in bench.finished
    assert "a:huge" not in bench.finished
    assert bench.finished.count("b:flood-19") == 0
    bench.work_off()
    alone.backend.forward_backward("a", huge, "cross_entropy")
    assert torch.equal(accumulated(bench, "a"), accumulated(alone, "a"))


def test_what_is_not_finite_fails_alone(make_bench):
    bench, alone = make_bench(), make_bench()
    datum = random_data(1)[0]
    extreme = TrainDatum(datum.tokens, datum.targets, np.full_like(datum.weights, 3e38))
    bad = bench.put_gradient("a", "bad", [extreme])
    good = bench.put_gradient("private", "good", random_data(3))
    assert bench.work_off() == 1
    assert isinstance(bad.outcome, Failure)
    assert bad.outcome.category == "user"
    assert isinstance(good.outcome, LossOutput)
    assert not accumulated(bench, "a").any()
    alone.backend.forward_backward("private", random_data(3), "cross_entropy")
    assert relative_error(accumulated(bench, "private"), accumulated(alone, "private")) < 1e-5


def test_a_pass_that_breaks_is_done_again_one_by_one(make_bench, monkeypatch):
    """What breaks a whole pass, such as lack of memory, must fail only who still fails alone."""
    bench, alone = make_bench(), make_bench()

    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(bench.backend.network, "join", broken)
    for name in ("a", "private"):
        bench.put_gradient(name, "1", random_data(3))
        alone.backend.forward_backward(name, random_data(3), "cross_entropy")
    bench.work_off()
    for name in ("a", "private"):
        assert isinstance(bench.futures.get(f"{name}:1").outcome, LossOutput)
        assert bench.backend.training_run(name).gradients == 1
        assert torch.equal(accumulated(bench, name), accumulated(alone, name))


def test_without_merging_company_changes_no_bit(make_bench):
    together, alone = make_bench(merges=False), make_bench(merges=False)
    for k in range(2):
        for name in ("a", "b", "c"):
            together.put_gradient(name, f"gradient-{k}", random_data(20, seed=k))
            together.put_step(name, f"step-{k}")
        alone.put_gradient("b", f"gradient-{k}", random_data(20, seed=k))
        alone.put_step("b", f"step-{k}")
    together.work_off()
    alone.work_off()
    runs = [bench.backend.training_run("b") for bench in (together, alone)]
    assert runs[0].state_digest() == runs[1].state_digest()
