"""The texts of kept rows that are compared with each other, read from disk as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from tensafe.curate.clusters import Positions
from tensafe.curate.rows import Rows
from tensafe.curate.similarity_text import asked, exchange, without_parts
from tensafe.curate.text import plain
from tensafe.data.stored import StoredTexts


class ComparisonTexts(Sequence[str]):
    """For each kept row the plain text of what is asked, without instructions that many share."""

    def __init__(self, rows: Rows, kept: Positions) -> None:
        self._rows, self._kept = rows, kept
        self._heads, self._tails = rows.shared.shared(kept)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        row, head, tail = int(self._kept[index]), self._heads[index], self._tails[index]
        if not head and not tail:
            return self._rows.asked[row]
        raw = asked(self._rows.examples.read(row))
        return plain(without_parts(raw, head=bool(head), tail=bool(tail)))


def exchange_texts(rows: Rows, numbers: Positions) -> StoredTexts:
    """The plain text of question and answer of rows with a long answer."""
    exchanges = (exchange(rows.examples.read(row)) for row in numbers.tolist())
    return StoredTexts(plain(text or "") for text in exchanges)
