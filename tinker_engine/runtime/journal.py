"""Writing requests to the database in the background, many in one transaction.

Clients are answered before their requests are on disk: a request that a crash keeps from being
written is unknown afterwards, and one that was written comes back as it was, or as lost.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from typing import Protocol

from tinker_engine.storage.store import FutureRecord

logger = logging.getLogger(__name__)

_BATCH = 256
_CLOSE_TIMEOUT_S = 30


class FutureStore(Protocol):
    """What the table needs of the database."""

    def put_futures(self, records: Sequence[FutureRecord]) -> None:
        """Store or replace requests."""
        ...

    def future(self, request_id: str) -> FutureRecord | None:
        """A stored request."""
        ...


class Journal:
    """A thread that writes records in the order they were noted; the last state of each counts."""

    def __init__(self, store: FutureStore) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[FutureRecord | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="tinker-engine-journal", daemon=True)
        self._writer.start()

    def put(self, record: FutureRecord) -> None:
        """Note a record."""
        self._queue.put(record)

    def close(self) -> None:
        """Write what is still to be written and stop."""
        self._queue.put(None)
        self._writer.join(timeout=_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch: dict[str, FutureRecord] = {}
            record = self._queue.get()
            while record is not None:
                batch[record.id] = record
                if len(batch) >= _BATCH or self._queue.empty():
                    break
                record = self._queue.get()
            is_open = record is not None
            if batch:
                self._write(list(batch.values()))

    def _write(self, records: Sequence[FutureRecord]) -> None:
        try:
            self._store.put_futures(records)
        # The journal only serves retries across a restart; training must not stop for it.
        except Exception:
            logger.exception("%d requests could not be written to the database", len(records))
