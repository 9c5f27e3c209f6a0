"""A log of records on disk that survives the death of the process at any moment.

Records go to numbered segment files, each framed by its lengths and a checksum. `append` returns
once the operating system has the record, which is all that a killed process needs; `sync` brings it
to the disk. A record that was cut short is not there for a reader, and neither is what follows it
in its segment. A log has one writing process, which begins a segment of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tinker_engine.errors import StorageError

logger = logging.getLogger(__name__)

_FRAME = struct.Struct("<III")
_SUFFIX = ".log"


@dataclass(frozen=True)
class Entry:
    """One record as read: its header, and where its bytes are."""

    header: dict[str, Any]
    segment: int
    offset: int
    size: int


class RunLog:
    """An append-only log in a folder of its own; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._backlog: list[bytes] = []
        self._descriptor: int | None = None
        self._size = 0
        self._is_torn = False
        self._is_dirty = False
        self.segment = max(_segments(folder), default=0)

    @property
    def size_bytes(self) -> int:
        """Bytes in the segment that is written to."""
        return self._size

    def append(self, header: Mapping[str, Any], blob: bytes = b"") -> int:
        """Write a record; gives its segment. Raises StorageError, and then it is not there."""
        with self._lock:
            self._drain()
            self._write(_framed(header, blob))
            return self.segment

    def append_later(self, header: Mapping[str, Any], blob: bytes = b"") -> int:
        """Write a record now if the disk takes it, else before the next one."""
        with self._lock:
            self._backlog.append(_framed(header, blob))
            try:
                self._drain()
            except StorageError as error:
                logger.warning("%s; trying again with the next record", error)
            return self.segment

    def begin_segment(self, header: Mapping[str, Any]) -> None:
        """Go on in a new file, which starts with this record."""
        with self._lock:
            self._close()
            self._backlog.insert(0, _framed(header, b""))
            with contextlib.suppress(StorageError):
                self._drain()

    def drop(self, segment: int) -> None:
        """Delete a segment that is not written to any more."""
        _path(self.folder, segment).unlink(missing_ok=True)

    def read(self) -> Iterator[Entry]:
        """All whole records, in order."""
        for number in _segments(self.folder):
            yield from _read_segment(self.folder, number)

    def blob(self, entry: Entry) -> bytes:
        """The bytes of a record."""
        with _path(self.folder, entry.segment).open("rb") as stream:
            stream.seek(entry.offset)
            return stream.read(entry.size)

    def sync(self) -> None:
        """Bring what was written to the disk; does nothing when it is there."""
        with self._lock:
            if not self._is_dirty or self._descriptor is None:
                return
            self._is_dirty = False
            descriptor = os.dup(self._descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the file; the next record opens a new segment."""
        with self._lock:
            self._close()

    def delete(self) -> None:
        """Remove the folder; what is appended afterwards is dropped."""
        with self._lock:
            self._close()
            self.segment = -1
            shutil.rmtree(self.folder, ignore_errors=True)

    def _drain(self) -> None:
        while self._backlog:
            self._write(self._backlog[0])
            self._backlog.pop(0)

    def _write(self, record: bytes) -> None:
        if self.segment < 0:
            return
        try:
            if self._descriptor is None or self._is_torn:
                self._open_segment()
            assert self._descriptor is not None
            view, written = memoryview(record), 0
            while written < len(record):
                written += os.write(self._descriptor, view[written:])
        except OSError as error:
            self._undo()
            raise StorageError(
                f"the request log {self.folder} can't be written: {error.strerror or error}"
            ) from error
        self._size += len(record)
        self._is_dirty = True

    def _open_segment(self) -> None:
        self._close()
        self.folder.mkdir(parents=True, exist_ok=True)
        number = self.segment + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(_path(self.folder, number), flags, 0o600)
        self.segment, self._size, self._is_torn = number, 0, False

    def _undo(self) -> None:
        """Cut off what was written of a record; where that fails, nothing more goes behind it."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._is_torn = True

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor, self._size = None, 0


def _framed(header: Mapping[str, Any], blob: bytes) -> bytes:
    head = json.dumps(header, separators=(",", ":")).encode()
    return _FRAME.pack(len(head), len(blob), zlib.crc32(blob, zlib.crc32(head))) + head + blob


def _read_segment(folder: Path, number: int) -> Iterator[Entry]:
    with _path(folder, number).open("rb") as stream:
        while len(frame := stream.read(_FRAME.size)) == _FRAME.size:
            head_size, blob_size, checksum = _FRAME.unpack(frame)
            head = stream.read(head_size)
            offset = stream.tell()
            blob = stream.read(blob_size)
            is_whole = len(head) == head_size and len(blob) == blob_size
            if not is_whole or zlib.crc32(blob, zlib.crc32(head)) != checksum:
                return
            header = cast("dict[str, Any]", json.loads(head))
            yield Entry(header, number, offset, blob_size)


def _segments(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdigit())


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}{_SUFFIX}"
