"""One background thread for examinations, which ends with the process and never holds it up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Worker:
    """Runs what it is given, one after the other. A killed examination is run again at start-up."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run something in its turn."""
        future: Future[T] = Future()
        self._jobs.put((cast("Future[Any]", future), work))
        return future

    def stop(self, timeout_s: float) -> None:
        """Take nothing more; wait for what runs, for at most `timeout_s`."""
        self._jobs.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            # The edge of the thread: whoever waits is told, and the next job gets its turn.
            except BaseException as error:
                future.set_exception(error)
