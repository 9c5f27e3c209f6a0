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

from tinker_engine.errors import StorageError
from tinker_engine.storage.store import FutureRecord

logger = logging.getLogger(__name__)

_BATCH = 256
_CLOSE_TIMEOUT_S = 30
_RETRY_S = 1.0


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
        # None is the end; an event is set when all before it is written.
        self._queue: queue.SimpleQueue[FutureRecord | threading.Event | None] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="tinker-engine-journal", daemon=True)
        self._writer.start()

    def put(self, record: FutureRecord) -> None:
        """Note a record."""
        self._queue.put(record)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was noted is written; False when that takes longer."""
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout_s)

    def close(self) -> None:
        """Write what is still to be written and stop."""
        self._is_closing.set()
        self._queue.put(None)
        self._writer.join(timeout=_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch: dict[str, FutureRecord] = {}
            record = self._queue.get()
            while isinstance(record, FutureRecord):
                batch[record.id] = record
                if len(batch) >= _BATCH or self._queue.empty():
                    break
                record = self._queue.get()
            is_open = record is not None
            if batch:
                self._write(list(batch.values()))
            if isinstance(record, threading.Event):
                record.set()

    def _write(self, records: Sequence[FutureRecord]) -> None:
        while True:
            try:
                self._store.put_futures(records)
                return
            except StorageError as error:
                # Retries across a restart need these; they wait for the disk, training doesn't.
                logger.warning("%d requests wait to be written: %s", len(records), error)
                if self._is_closing.wait(_RETRY_S):
                    return
            # The journal only serves retries across a restart; training must not stop for it.
            except Exception:
                logger.exception("%d requests could not be written to the database", len(records))
                return
