"""The durable record of every private update: one SQLite file per run.

Each event is chained to the one before by SHA-256, so an event can't be changed or dropped
unnoticed. An event and the noised update it pays for are committed in one synchronous transaction,
and only then is the update handed out: a crash can leave a paid update that was never applied, but
no applied update that wasn't paid for. An update is keyed by the digest of the state it was drawn
for, so a replay after a crash gets the same one again, at no further cost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np

from tinker_engine.errors import CheckpointError, StorageError
from tinker_engine.runtime.records import FloatArray

LEDGER_FILE = "ledger.sqlite"
GENESIS = hashlib.sha256(b"tinker-engine privacy ledger v1").hexdigest()
KEPT_UPDATES = 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    state_digest TEXT NOT NULL,
    body TEXT NOT NULL,
    previous TEXT NOT NULL UNIQUE,
    hash TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS updates (
    event_id TEXT PRIMARY KEY REFERENCES events (event_id),
    content BLOB NOT NULL
);
"""


@dataclass(frozen=True)
class LedgerEvent:
    """One noised update: what was drawn, for which state, and the digest of the result.

    `state_digest` is that of weights and optimizer before the step, `update_digest` the SHA-256 of
    the update's fp32 bytes. `event_id` is random and stays with the event in every copy of it.
    """

    event_id: str
    state_digest: str
    update_digest: str
    noise_multiplier: float
    sampling_rate: float
    clip_norm: float
    expected_batch_size: float
    trained_values: int
    record_set: str | None
    declared: str

    def to_json(self) -> str:
        """Canonical JSON, the body that the chain covers."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> LedgerEvent:
        """Raises CheckpointError for anything but a whole event."""
        try:
            return LedgerEvent(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"a privacy ledger holds an unreadable event: {error}") from error


def new_event_id() -> str:
    """128 random bits in hex."""
    return secrets.token_hex(16)


def chain_hash(previous: str, body: str) -> str:
    """Hash of an event's body on top of the hash before it."""
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()


class Ledger:
    """Append-only events with their stored updates. One thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection
        self._events, self._head = self._verified()

    @staticmethod
    def open(folder: Path) -> Ledger:
        """Open or create the ledger of a run.

        Raises CheckpointError when the file is damaged or its chain doesn't hold.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LEDGER_FILE
        db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        try:
            # An update is megabytes in one value: pages of 4 KiB cost four times as much to write.
            db.execute("PRAGMA page_size=65536")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(_SCHEMA)
            _sync(folder)
            return Ledger(path, db)
        except (sqlite3.DatabaseError, CheckpointError) as error:
            db.close()
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"privacy ledger {path} can't be opened: {error}") from error

    def close(self) -> None:
        """Release the file; what was recorded stays."""
        self._db.close()

    @property
    def events(self) -> tuple[LedgerEvent, ...]:
        """All events, oldest first."""
        return tuple(self._events)

    @property
    def digest(self) -> str:
        """Hash of the last event, which covers all before it."""
        return self._head

    def digest_at(self, steps: int) -> str | None:
        """Hash of the chain after its first `steps` events; None when it has fewer."""
        if steps == 0:
            return GENESIS
        row = self._db.execute(
            "SELECT hash FROM events ORDER BY seq LIMIT 1 OFFSET ?", (steps - 1,)
        ).fetchone()
        return None if row is None else cast(str, row[0])

    def stored_update(self, state_digest: str) -> FloatArray | None:
        """The update that was drawn for a state, if it is still kept.

        Raises CheckpointError when what is stored isn't what the event says.
        """
        for event in reversed(self._events):
            if event.state_digest != state_digest:
                continue
            row = self._db.execute(
                "SELECT content FROM updates WHERE event_id = ?", (event.event_id,)
            ).fetchone()
            if row is None:
                continue
            content = cast(bytes, row[0])
            if hashlib.sha256(content).hexdigest() != event.update_digest:
                raise CheckpointError(f"{self.path}: a stored update fails its digest")
            return np.frombuffer(content, dtype=np.float32).copy()
        return None

    def append(self, event: LedgerEvent, update: FloatArray) -> None:
        """Record an event and its update durably; returns once both are on disk.

        Raises CheckpointError when another process has written to the same ledger, StorageError
        when the disk refuses it; nothing is recorded then.
        """
        self._insert([event], {event.event_id: update.tobytes()})
        old = "SELECT event_id FROM events ORDER BY seq DESC LIMIT -1 OFFSET ?"
        # A full disk may refuse even this; the next step deletes what was left.
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute(f"DELETE FROM updates WHERE event_id IN ({old})", (KEPT_UPDATES,))

    def merge(self, events: Iterable[LedgerEvent], source: Ledger | None = None) -> None:
        """Add the events that are not here yet, with the updates that `source` still keeps."""
        known = {event.event_id for event in self._events}
        new = [event for event in events if event.event_id not in known]
        updates: dict[str, bytes] = {}
        if source is not None:
            wanted = {event.event_id for event in new}
            rows = source._db.execute("SELECT event_id, content FROM updates").fetchall()
            updates = {event_id: content for event_id, content in rows if event_id in wanted}
        if new:
            self._insert(new, updates)

    def _insert(self, events: Sequence[LedgerEvent], updates: dict[str, bytes]) -> None:
        head = self._head
        rows: list[tuple[str, str, str, str, str]] = []
        for event in events:
            body = event.to_json()
            link = chain_hash(head, body)
            rows.append((event.event_id, event.state_digest, body, head, link))
            head = link
        try:
            self._db.execute("BEGIN IMMEDIATE")
            insert = (
                "INSERT INTO events (event_id, state_digest, body, previous, hash) "
                "VALUES (?,?,?,?,?)"
            )
            self._db.executemany(insert, rows)
            self._db.executemany("INSERT INTO updates VALUES (?,?)", list(updates.items()))
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise StorageError(
                    f"privacy ledger {self.path} can't be written ({error}); nothing was released"
                ) from error
            raise CheckpointError(
                f"privacy ledger {self.path} can't be written: {error}"
            ) from error
        self._events.extend(events)
        self._head = head

    def _verified(self) -> tuple[list[LedgerEvent], str]:
        head, events = GENESIS, list[LedgerEvent]()
        rows = self._db.execute("SELECT event_id, body, previous, hash FROM events ORDER BY seq")
        for event_id, body, previous, link in rows.fetchall():
            event = LedgerEvent.from_json(body)
            if previous != head or link != chain_hash(head, body) or event.event_id != event_id:
                raise CheckpointError(
                    f"privacy ledger {self.path} was altered: its chain is broken"
                )
            events.append(event)
            head = link
        return events, head


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
