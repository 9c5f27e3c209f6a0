"""Laws of the queue and the table of requests: batches, isolation, waiting, letting go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from tinker_engine.errors import (
    CheckpointError,
    ConflictingRetryError,
    NotFoundError,
    RequestError,
)
from tinker_engine.runtime.completions import CompletionLog
from tinker_engine.runtime.futures import SAMPLE, Dropped, Failure, Future, FutureTable
from tinker_engine.runtime.jobs import Job
from tinker_engine.runtime.queue import ComputeQueue, SampleJob
from tinker_engine.runtime.records import LossOutput, SampledSequence, SampleRequest, SampleResult
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.storage.store import FutureRecord


class Records:
    """Keeps stored requests in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, FutureRecord] = {}

    def put_futures(self, records: Sequence[FutureRecord]) -> None:
        self.rows.update({record.id: record for record in records})

    def future(self, request_id: str) -> FutureRecord | None:
        return self.rows.get(request_id)


class Runner:
    """Answers a prompt with itself, one step later; a prompt that holds 13 fails."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.running: list[SampleRequest] = []
        self.prepared: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def prepare(self, sampler_id: str) -> None:
        self.prepared.append(sampler_id)
        if sampler_id == "broken":
            raise CheckpointError("damaged")

    def begin(self, sampler_id: str, request: SampleRequest, watch: Watch) -> object:
        self.running.append(request)
        return id(request)

    def step(self) -> list[tuple[object, SampleResult | Exception]]:
        assert self.gate.wait(10)
        requests, self.running = self.running, []
        self.batches.append(len(requests))
        return [(id(request), self.answer(request)) for request in requests]

    def answer(self, request: SampleRequest) -> SampleResult | Exception:
        if 13 in request.prompt:
            return RequestError("13 can't be sampled")
        return SampleResult([SampledSequence(request.prompt.tolist(), [], "stop")])


def request(*tokens: int) -> SampleRequest:
    prompt = np.asarray(tokens, dtype=np.int64)
    return SampleRequest(prompt, 1, 1, 0.0, 1.0, -1, None, (), (), False)


@pytest.fixture
def table() -> FutureTable:
    return FutureTable(Records(), "engine", fetched_bytes=10_000)


def loss(size: int) -> LossOutput:
    array = np.zeros(size, dtype=np.float32)
    return LossOutput([array], [array], 0.0)


def sample_future(table: FutureTable, name: str) -> Future:
    return table.register(name, kind=SAMPLE, digest="d")[0]


def test_waiting_samples_become_one_batch(table: FutureTable) -> None:
    runner = Runner()
    queue = ComputeQueue(table, runner, sample_batch=4)
    futures = [sample_future(table, f"s{i}") for i in range(6)]
    for i, future in enumerate(futures):
        queue.submit_sample("a", SampleJob(future, request(i)))
    order: list[str] = []
    last = table.register("t", kind="optim_step", digest="d")[0]
    done = threading.Event()
    queue.submit([Job(last, lambda: order.append("train") or done.set() or {})])
    queue.start()
    assert done.wait(10)
    asyncio.run(table.wait("s5", 10))
    assert runner.batches == [4, 2]
    for i, future in enumerate(futures):
        assert isinstance(future.outcome, SampleResult)
        assert future.outcome.sequences[0].tokens == [i]
    assert queue.stop(10)


def test_one_bad_request_fails_alone(table: FutureTable) -> None:
    runner = Runner()
    queue = ComputeQueue(table, runner, sample_batch=64)
    futures = [sample_future(table, f"s{i}") for i in range(20)]
    for i, future in enumerate(futures):
        queue.submit_sample("a", SampleJob(future, request(i)))
    cancelled = futures[5]
    cancelled.is_cancelled = True
    table.finish(cancelled, Failure("cancelled", "user"))
    queue.start()
    asyncio.run(table.wait("s19", 10))
    failed = [i for i, f in enumerate(futures) if isinstance(f.outcome, Failure)]
    assert failed == [5, 13]
    queue.stop(10)


def test_sampler_that_cannot_load_fails_its_batch_once(table: FutureTable) -> None:
    runner = Runner()
    queue = ComputeQueue(table, runner, sample_batch=64)
    futures = [sample_future(table, f"s{i}") for i in range(8)]
    for future in futures:
        queue.submit_sample("broken", SampleJob(future, request(1)))
    after = sample_future(table, "after")
    queue.submit_sample("fine", SampleJob(after, request(1)))
    queue.start()
    asyncio.run(table.wait("after", 10))
    assert runner.prepared == ["broken", "fine"]
    assert all(isinstance(f.outcome, Failure) for f in futures)
    assert isinstance(after.outcome, SampleResult)
    queue.stop(10)


@pytest.mark.parametrize(
    ("error", "category"), [(RequestError("no"), "user"), (ValueError("odd"), "server")]
)
def test_failures_are_typed(table: FutureTable, error: Exception, category: str) -> None:
    queue = ComputeQueue(table, Runner(), sample_batch=4)
    future = table.register("f", kind="x", digest="d")[0]

    def work() -> dict[str, str]:
        raise error

    queue.submit([Job(future, work)])
    queue.start()
    asyncio.run(table.wait("f", 10))
    assert isinstance(future.outcome, Failure)
    assert future.outcome.category == category
    assert str(error) in future.outcome.message
    queue.stop(10)


def test_same_id_same_payload(table: FutureTable) -> None:
    first, is_new = table.register("a", kind="x", digest="1")
    again, is_again_new = table.register("a", kind="x", digest="1")
    assert (first is again, is_new, is_again_new) == (True, True, False)
    with pytest.raises(ConflictingRetryError):
        table.register("a", kind="x", digest="2")
    assert table.recall("a", "1")
    assert not table.recall("b", "1")


def test_waiting_ends_with_the_result_or_the_timeout(table: FutureTable) -> None:
    future = table.register("a", kind="x", digest="1")[0]

    async def wait() -> tuple[Future | None, Future | None]:
        nothing = await table.wait("a", 0.01)
        threading.Timer(0.02, lambda: table.finish(future, {"ok": 1})).start()
        return nothing, await table.wait("a", 10)

    nothing, something = asyncio.run(wait())
    assert nothing is None
    assert something is future
    assert future.waiters == []
    table.finish(future, {"ok": 2})
    assert future.outcome == {"ok": 1}
    with pytest.raises(NotFoundError, match="unknown"):
        asyncio.run(table.wait("never", 1))


def test_requests_of_an_earlier_process() -> None:
    records = Records()
    earlier = FutureTable(records, "one", 10_000)
    small = earlier.register("small", kind="optim_step", digest="1")[0]
    large = earlier.register("large", kind="forward_backward", digest="1")[0]
    earlier.register("lost", kind="optim_step", digest="1")
    earlier.register("sample", kind=SAMPLE, digest="1")
    earlier.finish(small, {"metrics": {}})
    earlier.finish(large, loss(8))
    earlier.close()
    assert "sample" not in records.rows
    later = FutureTable(records, "two", 10_000)
    with pytest.raises(ConflictingRetryError):
        later.recall("small", "2")
    outcomes = {
        name: found.outcome
        for name in ("small", "large", "lost")
        if (found := asyncio.run(later.wait(name, 1))) is not None
    }
    assert outcomes["small"] == {"metrics": {}}
    assert isinstance(outcomes["large"], Dropped)
    lost = outcomes["lost"]
    assert isinstance(lost, Failure)
    assert lost.category == "server"
    assert "checkpoint" in lost.message


def test_fetched_results_are_bounded(table: FutureTable) -> None:
    futures = [table.register(f"f{i}", kind="x", digest="1")[0] for i in range(4)]
    for future in futures:
        table.finish(future, loss(500))  # 4,000 bytes each, of 10,000 allowed
        table.mark_fetched(future)
        table.mark_fetched(future)
    kept = [isinstance(future.outcome, LossOutput) for future in futures]
    assert kept == [False, False, True, True]
    table.forget(["f3"])
    assert table.get("f3") is None


def test_completion_log_waits_and_trims(table: FutureTable) -> None:
    log = CompletionLog()
    futures = [sample_future(table, f"s{i}") for i in range(3)]
    for future in futures[:2]:
        table.finish(future, SampleResult([]))
        log.add(future)

    async def poll() -> list[tuple[list[str], int]]:
        seen: list[tuple[list[str], int]] = []
        for cursor in (0, 1):
            found, following = await log.after(cursor, 1)
            seen.append(([c.request_id for c in found], following))
        threading.Timer(0.02, lambda: log.add(futures[2])).start()
        found, following = await log.after(2, 10)
        seen.append(([c.request_id for c in found], following))
        found, following = await log.after(3, 0)
        seen.append(([c.request_id for c in found], following))
        return seen

    assert asyncio.run(poll()) == [
        (["s0", "s1"], 2),
        (["s1"], 2),
        (["s2"], 3),
        ([], 3),
    ]


class Steps:
    """A running batch whose requests end when told; each step takes a little while."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.watches: dict[int, Watch] = {}
        self.ending = threading.Event()
        self.is_broken = False

    def prepare(self, sampler_id: str) -> None:
        pass

    def begin(self, sampler_id: str, request: SampleRequest, watch: Watch) -> object:
        self.watches[len(self.watches)] = watch
        return len(self.watches) - 1

    def step(self) -> list[tuple[object, SampleResult | Exception]]:
        self.log.append("step")
        if self.is_broken:
            raise ZeroDivisionError
        time.sleep(0.002)
        gone = [n for n, w in self.watches.items() if w.is_cancelled() or self.ending.is_set()]
        for number in gone:
            del self.watches[number]
        return [(number, SampleResult([])) for number in gone]


def test_training_and_sampling_take_turns(table: FutureTable) -> None:
    log: list[str] = []
    runner = Steps(log)
    queue = ComputeQueue(table, runner, sample_batch=4)
    sample = sample_future(table, "s")
    queue.submit_sample("a", SampleJob(sample, request(1)))
    jobs = [table.register(f"t{i}", kind="x", digest="d")[0] for i in range(4)]
    queue.submit([Job(job, lambda: log.append("train") or {}) for job in jobs])
    queue.start()
    asyncio.run(table.wait("t3", 10))
    runner.ending.set()
    asyncio.run(table.wait("s", 10))
    assert queue.stop(10)
    # A job that took no time is followed by sampling for the shortest turn, not by the next job.
    places = [i for i, what in enumerate(log) if what == "train"]
    assert len(places) == 4
    assert all(later - sooner > 1 for sooner, later in pairwise(places))


def test_a_cancelled_running_request_leaves_at_the_next_step(table: FutureTable) -> None:
    log: list[str] = []
    runner = Steps(log)
    queue = ComputeQueue(table, runner, sample_batch=4)
    futures = [sample_future(table, f"s{i}") for i in range(2)]
    for future in futures:
        queue.submit_sample("a", SampleJob(future, request(1)))
    queue.start()
    while len(runner.watches) < 2:
        time.sleep(0.001)
    futures[0].is_cancelled = True
    table.finish(futures[0], Failure("cancelled", "user"))
    while len(runner.watches) > 1:
        time.sleep(0.001)
    assert queue.depth() == 1
    assert isinstance(futures[0].outcome, Failure)
    runner.ending.set()
    asyncio.run(table.wait("s1", 10))
    assert isinstance(futures[1].outcome, SampleResult)
    assert queue.stop(10)


def test_a_step_that_fails_ends_all_that_runs_and_the_queue_goes_on(table: FutureTable) -> None:
    runner = Steps([])
    queue = ComputeQueue(table, runner, sample_batch=4)
    futures = [sample_future(table, f"s{i}") for i in range(2)]
    for future in futures:
        queue.submit_sample("a", SampleJob(future, request(1)))
    runner.is_broken = True
    queue.start()
    for name in ("s0", "s1"):
        asyncio.run(table.wait(name, 10))
    assert all(isinstance(future.outcome, Failure) for future in futures)
    runner.is_broken = False
    runner.ending.set()
    queue.submit_sample("a", SampleJob(sample_future(table, "after"), request(1)))
    asyncio.run(table.wait("after", 10))
    assert queue.stop(10)
