"""Texts and examples kept in a temporary file, so that memory does not grow with their length.

The file has no name and is gone when its last reader is. Records are written once, in order, and
read with `pread`: a position costs eight bytes of memory, and one sequence may be read from
several places at once. Set `TMPDIR` to choose the disk.
"""

from __future__ import annotations

import marshal
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast, overload

from tensafe.data.records import Example, ExampleKind, Message
from tensafe.errors import DataError

_BUFFER_BYTES = 1 << 20
_DIGEST_BYTES = 32
# Fewer examples than this are held in memory.
IN_MEMORY = 20_000


class Spill:
    """Byte records in a temporary file, numbered from 0 in the order they were appended."""

    def __init__(self) -> None:
        # Open as long as anything reads from it; closed and gone with the last reference.
        self._file = tempfile.TemporaryFile(prefix="tensafe-", buffering=0)  # noqa: SIM115
        self._starts = array("Q", [0])
        self._pending = bytearray()
        self._written = 0

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, record: bytes) -> int:
        """The number of the new record.

        Raises:
            DataError: the disk of the temporary folder is full.
        """
        self._pending += record
        starts = self._starts
        starts.append(starts[-1] + len(record))
        if len(self._pending) >= _BUFFER_BYTES:
            self._flush()
        return len(starts) - 2

    def read(self, number: int) -> bytes:
        """The record with this number; IndexError where there is none."""
        if number < 0:
            raise IndexError(number)
        start, end = self._starts[number], self._starts[number + 1]
        if end > self._written:
            self._flush()
        return os.pread(self._file.fileno(), end - start, start)

    def _flush(self) -> None:
        try:
            with memoryview(self._pending) as rest:
                done = 0
                while done < len(rest):
                    done += os.write(self._file.fileno(), rest[done:])
        except OSError as error:
            raise DataError(
                f"{tempfile.gettempdir()}: {error.strerror} while the data was set aside there; "
                "free some space, or set TMPDIR to a folder on another disk"
            ) from error
        self._written += len(self._pending)
        self._pending.clear()


class StoredTexts(Sequence[str]):
    """Texts in a temporary file."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._spill = Spill()
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Adds a text at the end."""
        self._spill.append(text.encode("utf-8", "surrogatepass"))

    def __len__(self) -> int:
        return len(self._spill)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        number = index if index >= 0 else index + len(self)
        return self._spill.read(number).decode("utf-8", "surrogatepass")


class ExampleSpill:
    """Examples in a temporary file, numbered from 0."""

    def __init__(self) -> None:
        self._spill = Spill()

    def __len__(self) -> int:
        return len(self._spill)

    def append(self, example: Example) -> int:
        """The number of the new example."""
        turns = [text for turn in example.messages for text in (turn["role"], turn["content"])]
        fields = (example.source, example.place, example.group, example.kind, *turns)
        return self._spill.append(marshal.dumps(fields))

    def read(self, number: int) -> Example:
        """The example with this number."""
        fields = cast("tuple[str, ...]", marshal.loads(self._spill.read(number)))
        source, place, group, kind = fields[:4]
        turns = zip(fields[4::2], fields[5::2], strict=True)
        messages = tuple(cast("Message", {"role": r, "content": c}) for r, c in turns)
        return Example(messages, source, place, group, cast("ExampleKind", kind))


class StoredExamples(Sequence[Example]):
    """Some examples of a spill as an immutable sequence; each is read when it is asked for.

    Equal to any sequence of equal examples. Pickled and copied, it becomes a tuple.
    """

    def __init__(self, spill: ExampleSpill, numbers: array[int], digests: bytes) -> None:
        """`digests` holds the 32 bytes of each example's digest, in the order of `numbers`."""
        if len(digests) != _DIGEST_BYTES * len(numbers):
            raise ValueError("one digest of 32 bytes for each example")
        self._spill, self._numbers, self._digests = spill, numbers, digests

    def digests(self) -> Iterator[str]:
        """The hex digests of the examples, without reading them."""
        size = _DIGEST_BYTES
        for start in range(0, len(self._digests), size):
            yield self._digests[start : start + size].hex()

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...
    def __getitem__(self, index: int | slice) -> Example | tuple[Example, ...]:
        if isinstance(index, slice):
            return tuple(self._spill.read(number) for number in self._numbers[index])
        return self._spill.read(self._numbers[index])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (tuple, list, StoredExamples)):
            return NotImplemented
        theirs = cast("Sequence[object]", other)
        return len(self) == len(theirs) and all(a == b for a, b in zip(self, theirs, strict=True))

    def __hash__(self) -> int:
        return hash(self._digests)

    def __repr__(self) -> str:
        return f"<{len(self)} stored examples>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (tuple, (tuple(self),))


def side_of(
    spill: ExampleSpill, numbers: array[int], digests: bytes
) -> tuple[Example, ...] | StoredExamples:
    """One side of a data set: a tuple where it is small, else examples read when asked for."""
    stored = StoredExamples(spill, numbers, digests)
    return tuple(stored) if len(stored) < IN_MEMORY else stored
