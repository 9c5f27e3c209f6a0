"""Rows on their way to a file: one JSON line each in a temporary file, found again by number.

Memory: seventeen bytes a row.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from aragora.training.exporters.near_rows import compared_text, first_of_each, group_key
from aragora.training.exporters.rows import Row

# Rows among which near-repetitions are looked for; bounds the memory that takes.
NEAR_BLOCK = 500_000


def encoded(row: Row) -> bytes:
    """A row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


class Spool:
    """Lines in an open file, by number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._starts, self._groups, self._sources = array("q"), array("Q"), array("B")
        self._names: list[str] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, row: Row) -> None:
        """Take the next row."""
        line = encoded(row)
        self._file.write(line)
        self._starts.append(self._size)
        self._groups.append(group_key(row))
        source = row["provenance"]["source"]
        if source not in self._names:
            self._names.append(source)
        self._sources.append(self._names.index(source))
        self._size += len(line)

    def line(self, number: int) -> bytes:
        """The line of a row."""
        self._file.seek(self._starts[number])
        return self._file.readline()

    def lines(self) -> Iterator[bytes]:
        """All lines in order."""
        self._file.seek(0)
        yield from self._file

    def sources(self, which: NDArray[np.bool_]) -> dict[str, int]:
        """How many of the rows (n,) that are marked came from each source."""
        counts = np.bincount(np.asarray(self._sources, np.int64)[which])
        return {self._names[place]: int(n) for place, n in enumerate(counts)}

    def kept(self, limit: float) -> NDArray[np.bool_]:
        """Which rows have no earlier near-repetition in their block; all at a limit of 1."""
        keep = np.ones(len(self), np.bool_)
        self._file.flush()
        groups = np.frombuffer(self._groups, np.uint64) if len(self) else np.zeros(0, np.uint64)
        for start in range(0, len(self) if limit < 1.0 else 0, NEAR_BLOCK):
            stop = min(len(self), start + NEAR_BLOCK)
            texts = _Texts(self, start, stop)
            keep[start:stop] = first_of_each(texts, groups[start:stop], limit)
        return keep


class _Texts(Sequence[str]):
    """The compared texts of some rows, read as they are asked for."""

    def __init__(self, spool: Spool, start: int, stop: int) -> None:
        self._spool, self._start, self._stop = spool, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return compared_text(json.loads(self._spool.line(self._start + index)))


def path_of_spool(target: Path, layout: str) -> Path:
    """Where the lines of a file wait, in the file's folder: space there is needed anyway."""
    return target.with_name(f".{target.name}.{layout}.rows")
