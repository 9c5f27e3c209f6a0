"""Work that waits for the compute thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from tinker_engine.errors import EngineError
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.callers import Caller, acting_for, current_caller
from tinker_engine.runtime.futures import Failure, Future, Outcome
from tinker_engine.runtime.records import TrainRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JointWork:
    """How a `forward_backward` is computed with those of other runs, or in turns with them.

    `request` gives what is to be computed, at the last moment, or why it can't be; it may raise
    EngineError too.
    """

    rows: int
    request: Callable[[], TrainRequest | Failure]


@dataclass(frozen=True)
class Job:
    """Work for the backend whose return value is the future's outcome.

    A job that may be computed otherwise than by itself says so by `joint`. All of it runs on behalf
    of whoever made the job.
    """

    future: Future
    work: Callable[[], Outcome]
    joint: JointWork | None = None
    caller: Caller | None = field(default_factory=current_caller)

    def outcome(self) -> Outcome:
        """Compute it by itself."""
        with acting_for(self.caller):
            return guarded(self.work)

    def request(self) -> TrainRequest | Failure:
        """What a joint pass is to compute; may raise EngineError."""
        assert self.joint is not None
        with acting_for(self.caller):
            return self.joint.request()


@dataclass(frozen=True)
class GradientWork:
    """A `forward_backward`: called, it is computed by itself. `admit` raises what forbids it."""

    backend: Backend
    wanted: TrainRequest
    admit: Callable[[], None]

    def request(self) -> TrainRequest:
        """What is to be computed, after it was admitted."""
        self.admit()
        return self.wanted

    def __call__(self) -> Outcome:
        request = self.request()
        return self.backend.forward_backward(request.run_id, request.data, request.loss)


def guarded(work: Callable[[], Outcome]) -> Outcome:
    """The outcome of some work, or the failure that it ended in."""
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
