"""Which samples were asked for and not fetched: what a restart has lost.

Samples can be drawn again, so only their ids are kept. The next engine tells clients that these
requests are over; their fetch is then answered with 410, and SDKs send them again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import defaultdict
from pathlib import Path

logger = logging.getLogger(__name__)

_FILE = "waiting.log"
_SHORTEN_BYTES = 8 << 20


class SampleLog:
    """Ids of samples that are waiting, in a file that is only appended to; for several threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / _FILE
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._lost: dict[str, set[str]] = defaultdict(set)
        for request_id in _read(self._file):
            self._lost[request_id.rpartition(":")[0]].add(request_id)
        self._descriptor, self._size = -1, 0
        self._shorten()

    def accept(self, request_id: str) -> None:
        """Note a request before its submit is answered."""
        with self._lock:
            self._waiting.add(request_id)
            self._lost[request_id.rpartition(":")[0]].discard(request_id)
            self._write(f"+{request_id}\n")

    def settle(self, request_id: str) -> None:
        """Note that its result went out."""
        with self._lock:
            self._waiting.discard(request_id)
            self._write(f"-{request_id}\n")

    def lost(self, sampler_id: str) -> list[str]:
        """Requests to a sampling session that an earlier process took with it."""
        with self._lock:
            return sorted(self._lost.get(sampler_id, ()))

    def forget(self, sampler_id: str) -> None:
        """A session is over; nobody comes for its requests."""
        with self._lock:
            gone = {name for name in self._waiting if name.startswith(f"{sampler_id}:")}
            self._waiting -= gone
            for name in gone | self._lost.pop(sampler_id, set()):
                self._write(f"-{name}\n")

    def _write(self, line: str) -> None:
        # A sample that isn't noted is only lost if the process dies now; a full disk must not
        # keep it from being drawn.
        with contextlib.suppress(OSError):
            self._size += os.write(self._descriptor, line.encode())
        if self._size > _SHORTEN_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        still = [*self._waiting, *(name for names in self._lost.values() for name in names)]
        temporary = self._file.with_suffix(".new")
        try:
            temporary.write_text("".join(f"+{name}\n" for name in still), encoding="utf-8")
            temporary.replace(self._file)
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            logger.warning("the list of waiting samples can't be shortened: %s", error)
            self._size = 0
            return
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._size = descriptor, 0


def _read(file: Path) -> list[str]:
    waiting: dict[str, None] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in file.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("+"):
                waiting[line[1:]] = None
            else:
                waiting.pop(line[1:], None)
    return list(waiting)
