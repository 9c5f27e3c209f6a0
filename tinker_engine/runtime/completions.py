"""Which sampling requests of one client are finished: the log that `retrieve_futures` reads.

A cursor counts completions of one (sampling session, client) pair. What lies at or before the
cursor a client sends back has been seen and is let go. The log of a session that was opened again
after a restart begins behind all cursors that its clients have seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from tinker_engine.runtime.futures import Failure, Future, outcome_size


@dataclass(frozen=True)
class Completion:
    """One finished request; `size_bytes` is None for a failed one."""

    cursor: int
    request_id: str
    size_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """The form that the SDK reads."""
        if self.size_bytes is None:
            return {"state": "failed", "request_id": self.request_id}
        return {
            "state": "finished",
            "request_id": self.request_id,
            "response_payload_uncompressed_size": self.size_bytes,
        }


class CompletionLog:
    """Completions of one client, written by the compute thread and read by its poller."""

    def __init__(self, first_cursor: int = 0) -> None:
        self._entries: deque[Completion] = deque()
        self._cursor = first_cursor
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def add(self, future: Future) -> None:
        """Note that a request is finished and wake the poller."""
        size = None if isinstance(future.outcome, Failure) else outcome_size(future.outcome)
        self._note(future.request_id, size)

    def add_lost(self, request_id: str) -> None:
        """Note that a request won't be answered; who fetches it learns to send it again."""
        self._note(request_id, None)

    def _note(self, request_id: str, size: int | None) -> None:
        with self._lock:
            self._cursor += 1
            self._entries.append(Completion(self._cursor, request_id, size))
            waiters, self._waiters = self._waiters, []
        for loop, event in waiters:
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    async def after(self, cursor: int, timeout_s: float) -> tuple[list[Completion], int]:
        """Completions after a cursor, waiting for the first one; and the cursor to send next."""
        event = asyncio.Event()
        with self._lock:
            while self._entries and self._entries[0].cursor <= cursor:
                self._entries.popleft()
            if not self._entries and timeout_s > 0:
                self._waiters.append((asyncio.get_running_loop(), event))
            else:
                return list(self._entries), self._cursor
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiters = [waiter for waiter in self._waiters if waiter[1] is not event]
        with self._lock:
            return list(self._entries), self._cursor
