"""The line in front of the backend, and the one thread that works it off.

Training jobs wait in a `TrainingLine`, which says whose turn it is. Sampling requests join the
running batch, which moves on by one token a step. Where both have work they take turns: one of
training, then sampling for as long as that one took, but no longer than `LONGEST_TURN_S`; so
neither waits for more than one turn of the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tinker_engine.protocol.results import only_last
from tinker_engine.runtime.futures import Failure, Future, FutureTable, Outcome
from tinker_engine.runtime.jobs import Job, guarded
from tinker_engine.runtime.records import SampleRequest, SampleResult, TokenEvent
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.runtime.training_line import TrainingLine, Turn

logger = logging.getLogger(__name__)

# Requests of one burst arrive a fraction of a millisecond apart; a batch that is about to start is
# given this much longer to grow, which costs less than reading its prompts one by one.
_GROWTH_PAUSE_S = 0.002
_GROWTH_LIMIT_S = 0.02
SHORTEST_TURN_S = 0.05
LONGEST_TURN_S = 2.0


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


class SampleRunner(Protocol):
    """What the queue needs in order to sample."""

    def prepare(self, sampler_id: str) -> None:
        """Make the sampler ready; an error here concerns all that wait for it."""
        ...

    def begin(self, sampler_id: str, request: SampleRequest, watch: Watch) -> object:
        """Take a request into the running batch; gives what `step` will call it."""
        ...

    def step(self) -> Sequence[tuple[object, SampleResult | Exception]]:
        """Move the running batch on; the requests that have ended."""
        ...


class ComputeQueue:
    """Feeds the backend from one thread; `submit` and `submit_sample` may be called from any.

    At most `sample_batch` requests are in the running batch; others wait here.
    """

    def __init__(
        self,
        futures: FutureTable,
        runner: SampleRunner,
        sample_batch: int,
        training: TrainingLine | None = None,
    ) -> None:
        self._futures = futures
        self._runner = runner
        self._sample_batch = sample_batch
        self._line = TrainingLine(futures) if training is None else training
        self._samples: deque[tuple[str, SampleJob]] = deque()
        self._running: dict[object, SampleJob] = {}
        self._turn_ends = 0.0
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
        """Add a sampling request to those that join the running batch at its next step."""
        with self._changed:
            self._samples.append((sampler_id, job))
            self._changed.notify()

    def stop(self, timeout_s: float) -> bool:
        """Finish the job or the step at hand and stop; True when the worker has ended."""
        with self._changed:
            self._is_stopping = True
            self._line.clear()
            self._samples.clear()
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def depth(self) -> int:
        """Jobs in line and sampling requests that are waiting or running."""
        with self._changed:
            return len(self._line) + len(self._samples) + len(self._running)

    def _work(self) -> None:
        while self._wait():
            turn = self._next_turn()
            if turn is None:
                self._step()
                continue
            started = time.monotonic()
            turn()
            now = time.monotonic()
            self._turn_ends = now + min(LONGEST_TURN_S, max(SHORTEST_TURN_S, now - started))

    def _wait(self) -> bool:
        """Wait for work; False when the worker is to stop."""
        with self._changed:
            if not self._running:
                self._changed.wait_for(
                    lambda: self._is_stopping or bool(self._line) or bool(self._samples)
                )
                if self._samples and not self._line:
                    self._let_grow()
            return not self._is_stopping

    def _next_turn(self) -> Turn | None:
        """What training does next, unless it is sampling's turn."""
        with self._changed:
            has_samples = bool(self._running) or bool(self._samples)
            if not self._line or (has_samples and time.monotonic() < self._turn_ends):
                return None
            return self._line.next_turn(self._changed)

    def _let_grow(self) -> None:
        waited = 0.0
        while len(self._samples) < self._sample_batch and waited < _GROWTH_LIMIT_S:
            before = len(self._samples)
            self._changed.wait_for(lambda: self._is_stopping, timeout=_GROWTH_PAUSE_S)
            waited += _GROWTH_PAUSE_S
            if len(self._samples) == before or self._is_stopping:
                return

    def _step(self) -> None:
        self._admit()
        if not self._running:
            return
        try:
            ended = self._runner.step()
        # The edge of the compute thread; what was running has nothing left to wait for.
        except Exception as error:
            logger.exception("the backend failed")
            ended = [(ticket, error) for ticket in self._running]
        for ticket, outcome in ended:
            job = self._running.pop(ticket, None)
            # What a failed step has ended already may come up once more.
            if job is None:
                continue
            self._futures.finish(job.future, guarded(partial(_outcome, job, outcome)))

    def _admit(self) -> None:
        """Hand waiting requests to the runner; each sampler is made ready once."""
        prepared: dict[str, Outcome] = {}
        while len(self._running) < self._sample_batch:
            with self._changed:
                if not self._samples:
                    return
                sampler_id, job = self._samples.popleft()
            if job.future.is_cancelled:
                continue
            if sampler_id not in prepared:
                prepared[sampler_id] = guarded(partial(self._prepare, sampler_id))
            outcome = prepared[sampler_id]
            if not isinstance(outcome, Failure):
                outcome = guarded(partial(self._begin, sampler_id, job))
            if isinstance(outcome, Failure):
                self._futures.finish(job.future, outcome)

    def _prepare(self, sampler_id: str) -> Outcome:
        self._runner.prepare(sampler_id)
        return {}

    def _begin(self, sampler_id: str, job: SampleJob) -> Outcome:
        watch = Watch(job.on_token, lambda: job.future.is_cancelled)
        ticket = self._runner.begin(sampler_id, job.request, watch)
        with self._changed:
            self._running[ticket] = job
        return {}


def _outcome(job: SampleJob, outcome: SampleResult | Exception) -> Outcome:
    if isinstance(outcome, Exception):
        raise outcome
    return only_last(outcome, job.last_n)
