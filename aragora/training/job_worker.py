"""A worker: claims jobs one after another, renews its lease while it works, tells what came of it.

    worker = JobWorker(queue, work, name="host-4711")
    worker.run(stop)

The work itself is a function; it calls `control.tell` at every step, which raises when the job is
to be cancelled, the worker to stop, or the lease lost.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from aragora.errors import AragoraError, JobError
from aragora.training.job_queue import JobQueue, Lease, LeaseLostError

logger = logging.getLogger(__name__)

Work = Callable[["JobControl"], dict[str, Any]]
_RENEWALS_PER_LEASE = 4
_CLIENT_ERRORS_TO_RETRY = (408, 409, 429)


class JobCancelledError(JobError):
    """The job is to be cancelled: stop working on it."""


class WorkerStoppedError(JobError):
    """The worker is to stop: the job goes back into the queue."""


class JobControl:
    """What the work of one job talks to."""

    def __init__(self, queue: JobQueue, lease: Lease, stop: threading.Event) -> None:
        self.queue, self.lease = queue, lease
        self._stop = stop
        self._is_cancelled = threading.Event()
        self._is_lost = threading.Event()
        self._progress: dict[str, Any] | None = None

    def tell(self, progress: dict[str, Any]) -> None:
        """Note how far the work is; raises when it has to end."""
        self._progress = progress
        self.check()

    def check(self) -> None:
        """Raise when the work has to end: lease lost, job cancelled, or worker stopped."""
        if self._is_lost.is_set():
            raise LeaseLostError(f"job {self.lease.job.job_id!r} went to another worker")
        if self._is_cancelled.is_set():
            raise JobCancelledError(f"job {self.lease.job.job_id!r} is cancelled")
        if self._stop.is_set():
            raise WorkerStoppedError("the worker is stopping")

    def log(self, text: str) -> None:
        """Add a line to the job's log."""
        self.queue.log(self.lease, text)

    @contextmanager
    def kept(self) -> Generator[None]:
        """Renew the lease in the background until the block ends."""
        is_over = threading.Event()

        def renew() -> None:
            while not is_over.wait(self.queue.lease_s / _RENEWALS_PER_LEASE):
                self._renew()

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _renew(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        from tinker_engine.errors import StorageError

        try:
            if self.queue.renew(self.lease, self._progress):
                self._is_cancelled.set()
        except LeaseLostError:
            self._is_lost.set()
        # The lease may outlast a database that is away for a moment; if not, it is lost.
        except (SQLAlchemyError, StorageError) as error:
            logger.warning("job %s: lease not renewed: %s", self.lease.job.job_id, error)


class JobWorker:
    """Works on the jobs of a queue, one at a time.

    Args:
        work: does a job and gives back its result as JSON.
        name: what the jobs' logs call this worker.
        poll_s: how often an idle worker looks.
    """

    def __init__(self, queue: JobQueue, work: Work, *, name: str = "", poll_s: float = 1.0) -> None:
        self._queue, self._work = queue, work
        self.name = name or f"{socket.gethostname()[:60]}-{os.getpid()}-{threading.get_ident()}"
        self._poll_s = poll_s

    def run(self, stop: threading.Event, *, until_idle: bool = False) -> int:
        """Work until `stop`, or until nothing is left to do now; gives how many jobs were begun."""
        done = 0
        while not stop.is_set():
            lease = self._claim()
            if lease is not None:
                done += 1
                self.attend(lease, stop)
            elif until_idle:
                break
            else:
                stop.wait(self._poll_s)
        return done

    def attend(self, lease: Lease, stop: threading.Event) -> None:
        """Work on one claimed job and store its outcome, failures included."""
        from tinker_engine.errors import EngineError

        control = JobControl(self._queue, lease, stop)
        job_id = lease.job.job_id
        try:
            with control.kept():
                result = self._work(control)
            self._queue.complete(lease, result)
        except LeaseLostError as error:
            logger.warning("%s: %s", self.name, error)
        except JobCancelledError:
            self._closing(lease, lambda: self._queue.cancelled(lease))
        except WorkerStoppedError as error:
            reason = str(error)
            self._closing(lease, lambda: self._queue.release(lease, reason))
        # A process edge: a job must not take its worker down, whatever its libraries raise.
        except Exception as error:
            # Errors raised on purpose say all there is to say.
            trace = None if isinstance(error, AragoraError | EngineError) else error
            logger.warning("%s: job %s failed: %s", self.name, job_id, error, exc_info=trace)
            reason, may_retry = f"{type(error).__name__}: {error}", is_passing(error)
            self._closing(lease, lambda: self._queue.fail(lease, reason, may_retry=may_retry))

    def _claim(self) -> Lease | None:
        from sqlalchemy.exc import SQLAlchemyError

        from tinker_engine.errors import StorageError

        try:
            return self._queue.claim(self.name)
        except (SQLAlchemyError, StorageError) as error:
            logger.warning("%s: the queue can't be read now: %s", self.name, error)
            return None

    def _closing(self, lease: Lease, close: Callable[[], object]) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        from tinker_engine.errors import StorageError

        try:
            close()
        except LeaseLostError as error:
            logger.warning("%s: %s", self.name, error)
        # The lease runs out, and whoever looks next takes the job back.
        except (SQLAlchemyError, StorageError) as error:
            logger.warning("%s: job %s: end not stored: %s", self.name, lease.job.job_id, error)


def is_passing(error: BaseException) -> bool:
    """Whether trying again may help: not where the request, the data or the settings are wrong."""
    from tinker_engine.errors import EngineError, TooManyTokensError

    if isinstance(error, EngineError):
        return error.category == "server" or isinstance(error, TooManyTokensError)
    if isinstance(error, AragoraError | ValueError | TypeError):
        return False
    status: object = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status >= 500 or status in _CLIENT_ERRORS_TO_RETRY
    return getattr(error, "category", None) != "user"
