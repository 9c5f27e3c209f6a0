"""The one line in front of the backend, and the one thread that works it off.

Training jobs run one by one, in the order they were put in. Sampling jobs for the same sampler
that wait at the same time become one batch: the batch keeps the place of its first job and grows
until the worker reaches it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tinker_engine.errors import EngineError
from tinker_engine.protocol.results import only_last
from tinker_engine.runtime.futures import Failure, Future, FutureTable, Outcome
from tinker_engine.runtime.records import SampleRequest, SampleResult, TokenEvent
from tinker_engine.runtime.sample_watch import Watch

logger = logging.getLogger(__name__)

# Requests of one burst arrive a fraction of a millisecond apart; a batch that is still growing is
# given this much longer to grow, which costs less than running it too small.
_GROWTH_PAUSE_S = 0.002
_GROWTH_LIMIT_S = 0.02


@dataclass(frozen=True)
class Job:
    """Work for the backend whose return value is the future's outcome."""

    future: Future
    work: Callable[[], Outcome]


@dataclass(frozen=True)
class SampleJob:
    """One sampling request; `last_n` limits the prompt logprobs that are returned.

    `on_token` is called on the compute thread right after each token is chosen; it must neither
    block nor raise. Once `future.is_cancelled` is set, no more tokens are made.
    """

    future: Future
    request: SampleRequest
    last_n: int | None = None
    on_token: Callable[[TokenEvent], None] | None = None


@dataclass
class _Batch:
    sampler_id: str
    jobs: list[SampleJob] = field(default_factory=list)


class SampleRunner(Protocol):
    """What the queue needs in order to sample."""

    def prepare(self, sampler_id: str) -> None:
        """Make the sampler ready; an error here concerns the whole batch."""
        ...

    def run(
        self, sampler_id: str, requests: Sequence[SampleRequest], watches: Sequence[Watch]
    ) -> list[SampleResult]:
        """Answer the requests of one batch, in order."""
        ...


class ComputeQueue:
    """Feeds the backend from one thread; `submit` and `submit_sample` may be called from any."""

    def __init__(self, futures: FutureTable, runner: SampleRunner, sample_batch: int) -> None:
        self._futures = futures
        self._runner = runner
        self._sample_batch = sample_batch
        self._line: deque[Job | _Batch] = deque()
        self._open: dict[str, _Batch] = {}
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(
            target=self._work, name="tinker-engine-compute", daemon=True
        )

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put jobs at the end of the line."""
        with self._changed:
            self._line.extend(jobs)
            self._changed.notify()

    def submit_sample(self, sampler_id: str, job: SampleJob) -> None:
        """Add a sampling request to the waiting batch of its sampler, or start one."""
        with self._changed:
            batch = self._open.get(sampler_id)
            if batch is None or len(batch.jobs) >= self._sample_batch:
                batch = self._open[sampler_id] = _Batch(sampler_id)
                self._line.append(batch)
            batch.jobs.append(job)
            self._changed.notify()

    def stop(self, timeout_s: float) -> bool:
        """Finish the job at hand and stop; True when the worker has ended."""
        with self._changed:
            self._is_stopping = True
            self._line.clear()
            self._open.clear()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def depth(self) -> int:
        """Jobs and batches in line."""
        with self._changed:
            return len(self._line)

    def _work(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, Job):
                self._futures.finish(item.future, _guarded(item.work))
            else:
                self._sample(item)

    def _next(self) -> Job | _Batch | None:
        with self._changed:
            while not self._line and not self._is_stopping:
                self._changed.wait()
            if self._is_stopping:
                return None
            first = self._line[0]
            if isinstance(first, _Batch):
                self._let_grow(first)
                if self._is_stopping:
                    return None
                if self._open.get(first.sampler_id) is first:
                    del self._open[first.sampler_id]
            return self._line.popleft()

    def _let_grow(self, batch: _Batch) -> None:
        waited = 0.0
        while len(batch.jobs) < self._sample_batch and waited < _GROWTH_LIMIT_S:
            before = len(batch.jobs)
            self._changed.wait_for(
                lambda: self._is_stopping or len(batch.jobs) >= self._sample_batch,
                timeout=_GROWTH_PAUSE_S,
            )
            waited += _GROWTH_PAUSE_S
            if len(batch.jobs) == before or self._is_stopping:
                return

    def _sample(self, batch: _Batch) -> None:
        jobs = [job for job in batch.jobs if not job.future.is_cancelled]
        if not jobs:
            return
        failure = _guarded(lambda: self._prepare(batch.sampler_id))
        outcomes = (
            [failure] * len(jobs)
            if isinstance(failure, Failure)
            else self._outcomes(batch.sampler_id, jobs)
        )
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._futures.finish(job.future, outcome)

    def _prepare(self, sampler_id: str) -> Outcome:
        self._runner.prepare(sampler_id)
        return {}

    def _outcomes(self, sampler_id: str, jobs: Sequence[SampleJob]) -> Sequence[Outcome]:
        results: list[SampleResult] = []

        def run() -> Outcome:
            watches = [_watch(job) for job in jobs]
            results.extend(self._runner.run(sampler_id, [job.request for job in jobs], watches))
            return {}

        failure = _guarded(run)
        if not isinstance(failure, Failure):
            return [only_last(r, job.last_n) for r, job in zip(results, jobs, strict=True)]
        if len(jobs) == 1:
            return [failure]
        # One request must not fail its neighbours: find it by halves.
        middle = len(jobs) // 2
        return [
            *self._outcomes(sampler_id, jobs[:middle]),
            *self._outcomes(sampler_id, jobs[middle:]),
        ]


def _watch(job: SampleJob) -> Watch:
    return Watch(job.on_token, lambda: job.future.is_cancelled)


def _guarded(work: Callable[[], Outcome]) -> Outcome:
    try:
        return work()
    except EngineError as error:
        return Failure.of(error)
    except MemoryError:
        return Failure("out of memory; send fewer or shorter examples per request", "server")
    # The edge of the compute thread: whatever a backend raises must end in a typed failure.
    except Exception as error:
        logger.exception("the backend failed")
        return Failure(
            f"internal error ({type(error).__name__}: {error}); the server's log has the traceback",
            "server",
        )
