"""An append-only log in which every entry names the one before it by its hash.

One canonical JSON object a line; `hash` is the SHA-256 of the entry without it, and `previous` the
hash before. An edited, removed, inserted or reordered line breaks the chain; a shortened log is
shorter than the head that stands in a file beside it. Who can write both files can forge both: keep
a head elsewhere now and then, and give it to `verify_log`.

A crash while a line is written leaves a piece without a line break, which nobody was told of: it is
cut off when the log is opened again, and the cut is logged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tensafe.errors import DataError, VerificationError
from tensafe.files import locked, sync_folder, write_json
from tensafe.tgsp.canonical import JSONFormError, canonical_json, parse, parse_two_forms, sha256_hex
from tensafe.tgsp.keys import now

GENESIS = "0" * 64
LOG_NAME, HEAD_NAME = "audit.jsonl", "audit.head.json"
_MAX_LINE = 1024 * 1024


@dataclass(frozen=True)
class AuditEntry:
    """One thing that happened; `sequence` counts from 0, `at` is ISO 8601 in UTC."""

    sequence: int
    at: str
    event: str
    facts: dict[str, object]
    previous: str
    hash: str


@dataclass(frozen=True)
class LogCheck:
    """What a verification found: no faults means that the chain is whole up to `head`."""

    entries: int
    head: str
    faults: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """True when nothing contradicts the chain."""
        return not self.faults


class AuditLog:
    """The log of one folder; `append` may be called from any thread and any process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / LOG_NAME
        self._head = folder / HEAD_NAME
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._mend()

    def append(self, event: str, facts: Mapping[str, object]) -> AuditEntry:
        """Add an entry and bring it to the disk before returning.

        Raises:
            VerificationError: the log's last entry is not readable as one, or the log is shorter
                than its head says: going on would hide that.
            DataError: the disk refuses.
        """
        with self._lock, locked(self._file):
            last = _last(self._file)
            self._check_length(last)
            body: dict[str, object] = {
                "sequence": 0 if last is None else last.sequence + 1,
                "at": now(),
                "event": event,
                "facts": dict(facts),
                "previous": GENESIS if last is None else last.hash,
            }
            digest = sha256_hex(canonical_json(body))
            line = canonical_json({**body, "hash": digest}) + b"\n"
            try:
                self._write(line)
                write_json(self._head, {"sequence": body["sequence"], "hash": digest})
            except OSError as error:
                raise DataError(f"{self._file}: can't be written: {error.strerror}") from error
        return _entry(line)

    def _check_length(self, last: AuditEntry | None) -> None:
        """Refuse a log that was cut off; a crash leaves the head one behind and never ahead."""
        count = 0 if last is None else last.sequence + 1
        if count <= 1 and not self._head.exists():
            return
        hashes = set[str]() if last is None else {last.hash, last.previous}
        if next(_head_faults(self._head, count, hashes), ""):
            # A disk that refused the head several times leaves it further behind.
            hashes = {entry.hash for entry in self.entries()}
        if fault := next(_head_faults(self._head, count, hashes), ""):
            raise VerificationError(
                f"{self._file}: {fault}; put the log back from a copy, or move it and "
                f"{self._head.name} away together to begin another"
            )

    def entries(self) -> list[AuditEntry]:
        """All entries, as `read_log`."""
        return read_log(self._file.parent)

    def _write(self, line: bytes) -> None:
        is_new = not self._file.exists()
        descriptor = os.open(
            self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self._file.parent)

    def _mend(self) -> None:
        if not self._file.exists():
            return
        with locked(self._file):
            data = self._file.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole == len(data):
                return
            with self._file.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        self.append(
            "cut_off", {"bytes": len(data) - whole, "why": "a line that was never finished"}
        )


def read_log(folder: Path) -> list[AuditEntry]:
    """All entries, oldest first, as they stand; `verify_log` says whether they hold."""
    return [_entry(line) for line in _lines(folder / LOG_NAME)]


def verify_log(folder: Path, *, expected_head: str | None = None) -> LogCheck:
    """Check every link, and that the log is not shorter than its head file says.

    `expected_head` is a hash that was noted elsewhere; it has to stand in the chain.

    Raises:
        DataError: there is no log in the folder, or it can't be read.
    """
    file, faults = folder / LOG_NAME, list[str]()
    previous, count, hashes = GENESIS, 0, set[str]()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; name a folder of swaps") from error
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        fault, previous = _link(line, count, previous)
        if fault:
            faults.append(f"line {number}: {fault}")
            break
        hashes.add(previous)
        count += 1
    faults += _head_faults(folder / HEAD_NAME, count, hashes)
    if expected_head is not None and expected_head not in hashes:
        faults.append(f"the head {expected_head} that was noted does not stand in the log")
    return LogCheck(count, previous, tuple(faults))


def _link(line: bytes, count: int, previous: str) -> tuple[str, str]:
    """What is wrong with one line ("" for nothing), and its hash."""
    if not line.endswith(b"\n"):
        return "not finished: a crash, or cut off", previous
    try:
        parse_two_forms(line.rstrip(b"\n"), max_bytes=_MAX_LINE)
        entry = _entry(line)
    except VerificationError as error:
        return f"not an entry: {error}", previous
    if entry.sequence != count:
        return f"its number is {entry.sequence}, expected {count}", previous
    if entry.previous != previous:
        return "does not follow the entry before it", previous
    if entry.hash != _hash(entry):
        return "its content is not what its hash says", previous
    return "", entry.hash


def _head_faults(head: Path, count: int, hashes: set[str]) -> Iterator[str]:
    try:
        noted = parse(head.read_bytes())
    except FileNotFoundError:
        yield f"{head.name} is missing, so nobody knows how long the log was"
        return
    except (OSError, JSONFormError) as error:
        yield f"{head.name} can't be read: {error}"
        return
    sequence = noted.get("sequence")
    # The head is written after its entry, so a crash leaves it one behind and never ahead.
    if not isinstance(sequence, int) or sequence >= count:
        yield f"the log has {count} entries, and {head.name} knows entry {sequence}: cut off"
    elif noted.get("hash") not in hashes:
        yield f"{head.name} names an entry that does not stand in the log"


def _hash(entry: AuditEntry) -> str:
    body = {key: value for key, value in vars(entry).items() if key != "hash"}
    return sha256_hex(canonical_json(body))


def _entry(line: bytes) -> AuditEntry:
    value = parse(line, max_bytes=_MAX_LINE)
    try:
        return AuditEntry(
            sequence=cast("int", value["sequence"]),
            at=str(value["at"]),
            event=str(value["event"]),
            facts=cast("dict[str, object]", value["facts"]),
            previous=str(value["previous"]),
            hash=str(value["hash"]),
        )
    except KeyError as error:
        raise VerificationError(f"the entry has no {error}") from error


def _lines(file: Path) -> list[bytes]:
    try:
        return [line for line in file.read_bytes().split(b"\n") if line]
    except FileNotFoundError:
        return []


def _last(file: Path) -> AuditEntry | None:
    """The last entry, read from the end: the log may be long."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _MAX_LINE))
            lines = stream.read().rstrip(b"\n").split(b"\n")
    except FileNotFoundError:
        return None
    return _entry(lines[-1]) if lines[-1] else None
