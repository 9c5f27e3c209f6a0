"""Waiting training jobs, a lane for each run, and whose turn it is.

Work goes in rounds. In a round every run that has something waiting gets one turn of its own: a
job, or one microbatch of a long `forward_backward`. Then comes the round's joint pass, with the
short `forward_backward`s that wait at the head of their lanes, one of each run. So nobody waits for
more than that of another run, however much it sends. Jobs of one run keep their order.

Without a backend runs still take turns, but each job is computed whole and by itself.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import cast

from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.callers import acting_for
from tinker_engine.runtime.futures import Failure, Future, FutureTable, Outcome
from tinker_engine.runtime.jobs import Job, guarded
from tinker_engine.runtime.records import LossOutput, TrainRequest

# A pass is held back a little for runs that are about to send their next request: until then for
# this share of the last pass, or this long at most. A run counts as taking part for this long.
GROWTH_SHARE, GROWTH_LIMIT_S, GROWTH_PAUSE_S = 0.15, 0.03, 0.002
TAKING_PART_S = 2.0

Turn = Callable[[], None]


@dataclass
class _Lane:
    """One run's jobs in order; `long` is the one being computed in turns."""

    jobs: deque[Job] = field(default_factory=deque[Job])
    long: _Long | None = None

    @property
    def has_work(self) -> bool:
        return self.long is not None or bool(self.jobs)


@dataclass
class _Long:
    """A long request under way. `turns` is None until its first turn."""

    job: Job
    turns: Generator[None, None, LossOutput] | None = None
    is_done: bool = False


class TrainingLine:
    """Not safe for threads but for what a turn does: callers hold one lock for everything else."""

    def __init__(self, futures: FutureTable, backend: Backend | None = None) -> None:
        self._futures = futures
        self._backend = backend
        self._lanes: dict[str, _Lane] = {}
        self._served: set[str] = set()
        self._last_joint: dict[str, float] = {}
        self._pass_s = 0.0

    def __len__(self) -> int:
        """Jobs that wait or are under way."""
        return sum(len(lane.jobs) + (lane.long is not None) for lane in self._lanes.values())

    def extend(self, jobs: Sequence[Job]) -> None:
        """Put jobs at the end of their runs' lanes."""
        for job in jobs:
            self._lanes.setdefault(_run_of(job.future), _Lane()).jobs.append(job)

    def clear(self) -> None:
        """Forget all that waits; a turn under way goes on."""
        self._lanes.clear()

    def next_turn(self, changed: threading.Condition) -> Turn | None:
        """What to do next, to be called without the lock; None when nothing waits.

        May wait a little, on the condition whose lock is held, for a joint pass to grow.
        """
        self._forget_finished()
        if not self._lanes:
            self._served.clear()
            return None
        for run_id, lane in list(self._lanes.items()):
            if run_id not in self._served and not self._waits_for_company(lane):
                self._served.add(run_id)
                self._to_the_end(run_id)
                return self._own_turn(lane)
        group = self._joint_turn(changed)
        # The round is over.
        self._served.clear()
        return group or self.next_turn(changed)

    def _forget_finished(self) -> None:
        for run_id, lane in list(self._lanes.items()):
            if lane.long is not None and lane.long.is_done:
                lane.long = None
            if not lane.has_work:
                del self._lanes[run_id]

    def _to_the_end(self, run_id: str) -> None:
        self._lanes[run_id] = self._lanes.pop(run_id)

    def _waits_for_company(self, lane: _Lane) -> bool:
        """Whether a lane's next job is one for a joint pass."""
        if lane.long is not None or self._backend is None or not lane.jobs:
            return False
        joint = lane.jobs[0].joint
        return joint is not None and joint.rows < self._backend.joint_rows

    def _own_turn(self, lane: _Lane) -> Turn:
        if lane.long is None:
            job = lane.jobs.popleft()
            if job.joint is None or self._backend is None:
                return lambda: self._finish(job, job.outcome())
            lane.long = _Long(job)
        long = lane.long
        return lambda: self._advance(long)

    def _joint_turn(self, changed: threading.Condition) -> Turn | None:
        if not any(self._waits_for_company(lane) for lane in self._lanes.values()):
            return None
        self._let_grow(changed)
        jobs: list[Job] = []
        for run_id, lane in list(self._lanes.items()):
            if self._waits_for_company(lane):
                jobs.append(lane.jobs.popleft())
                self._to_the_end(run_id)
                self._last_joint[run_id] = time.monotonic()
        return lambda: self._compute(jobs)

    def _let_grow(self, changed: threading.Condition) -> None:
        """Wait for runs that took part a moment ago and have nothing in line now."""
        now = time.monotonic()
        self._last_joint = {k: t for k, t in self._last_joint.items() if now - t < TAKING_PART_S}
        limit = now + min(GROWTH_LIMIT_S, GROWTH_SHARE * self._pass_s)
        while time.monotonic() < limit and not self._last_joint.keys() <= self._lanes.keys():
            changed.wait(GROWTH_PAUSE_S)

    # Turns

    def _advance(self, long: _Long) -> None:
        """One microbatch of a long request."""
        outcome = guarded(lambda: self._step(long))
        if isinstance(outcome, Failure) or long.is_done:
            long.is_done = True
            self._finish(long.job, outcome)

    def _step(self, long: _Long) -> Outcome:
        if long.turns is None:
            assert self._backend is not None
            request = long.job.request()
            if isinstance(request, Failure):
                return request
            long.turns = self._backend.forward_backward_in_turns(request)
        try:
            next(long.turns)
        except StopIteration as end:
            long.is_done = True
            return cast(LossOutput, end.value)
        return {}

    def _compute(self, jobs: Sequence[Job]) -> None:
        """A joint pass; a job by itself is computed as ever."""
        started = time.monotonic()
        outcomes = [jobs[0].outcome()] if len(jobs) == 1 else self._together(jobs)
        self._pass_s = time.monotonic() - started
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._finish(job, outcome)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        with acting_for(job.caller):
            self._futures.finish(job.future, outcome)

    def _together(self, jobs: Sequence[Job]) -> list[Outcome]:
        backend, outcomes = self._backend, dict[int, Outcome]()
        assert backend is not None
        requests: dict[int, TrainRequest] = {}
        for place, job in enumerate(jobs):
            found = _guarded_request(job.request)
            if isinstance(found, Failure):
                outcomes[place] = found
            else:
                requests[place] = found

        def compute() -> Outcome:
            results = backend.forward_backward_jointly(list(requests.values()))
            for place, result in zip(requests, results, strict=True):
                is_loss = isinstance(result, LossOutput)
                outcomes[place] = result if is_loss else Failure.of(result)
            return {}

        if requests and isinstance(guarded(compute), Failure):
            # One request must not fail its neighbours, and nothing was changed: each by itself.
            outcomes.update({place: jobs[place].outcome() for place in requests})
        return [outcomes[place] for place in range(len(jobs))]


def _guarded_request(request: Callable[[], TrainRequest | Failure]) -> TrainRequest | Failure:
    found: list[TrainRequest] = []

    def ask() -> Outcome:
        answer = request()
        if isinstance(answer, Failure):
            return answer
        found.append(answer)
        return {}

    outcome = guarded(ask)
    return outcome if isinstance(outcome, Failure) else found[0]


def _run_of(future: Future) -> str:
    """The lane of a job; one that belongs to no run has a lane of its own."""
    return future.run_id if future.run_id is not None else f"request {future.request_id}"
