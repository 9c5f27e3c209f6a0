"""The texts of kept rows that are compared with each other, read from disk as they are needed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import overload

import numpy as np

from tensafe.curate.clusters import Positions
from tensafe.curate.rows import Rows
from tensafe.curate.similarity_text import asked, without_parts
from tensafe.curate.text import plain


class _KeptTexts(Sequence[str]):
    """A text for each kept row."""

    def __init__(self, rows: Rows, kept: Positions) -> None:
        self._rows, self._kept = rows, kept

    @abstractmethod
    def text(self, place: int) -> str:
        """The text of the kept row at this place."""

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self.text(place) for place in range(*index.indices(len(self)))]
        return self.text(index)


class ComparisonTexts(_KeptTexts):
    """For each kept row the plain text of what is asked, without instructions that many share."""

    def __init__(self, rows: Rows, kept: Positions) -> None:
        super().__init__(rows, kept)
        self._heads, self._tails = rows.shared.shared(kept)

    def text(self, place: int) -> str:
        row, head, tail = int(self._kept[place]), self._heads[place], self._tails[place]
        if not head and not tail:
            return self._rows.asked[row]
        raw = asked(self._rows.examples.read(row))
        return plain(without_parts(raw, head=bool(head), tail=bool(tail)))


class ExchangeTexts(_KeptTexts):
    """The plain text of question and answer of the kept rows that have a long answer."""

    def __init__(self, rows: Rows, numbers: Positions) -> None:
        super().__init__(rows, numbers)
        self._places = np.cumsum(rows.has_long_answer) - 1

    def text(self, place: int) -> str:
        return self._rows.exchanges[int(self._places[self._kept[place]])]
