"""Removes repeated examples and settles contradictions, by content and never by order.

Repeats: same prompt and same answer but for case, spacing and sentence punctuation. One is kept:
the wording that occurs most often, among equals the one with the smallest digest.

Contradictions: the same prompt with different answers. Between labels (short answers that many
examples share) the most frequent one stands and ties are dropped, because nothing says which is
right. Free-text answers may all be right: they are kept and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tensafe.curate.clusters import Positions
from tensafe.curate.rows import Flags, Rows
from tensafe.curate.shingling import Keys

Rule = Literal["majority", "keep", "drop"]


@dataclass(frozen=True)
class Removal:
    """What is left after repeats and contradictions were dealt with.

    `kept` holds the rows that stay, ascending. `stands_for` holds for every row the place in
    `kept` of the row that stands for it, or -1 where none does.
    """

    kept: Positions
    stands_for: Positions
    exact: int
    near_exact: int
    contradictory: int
    ambiguous_prompts: int


@dataclass(frozen=True)
class _Cells:
    """Rows that are repeats of each other. `of_row` numbers them; the rest is one per cell."""

    of_row: Positions
    counts: Positions
    representative: Positions
    distinct_wordings: int


def remove_duplicates(rows: Rows, contradictions: Rule) -> Removal:
    """The rows without repeats, and with contradictory labels settled."""
    cells = _cells(rows)
    stays, ambiguous = _settle(rows, cells, contradictions)
    kept_cells = np.flatnonzero(stays)
    kept_cells = kept_cells[np.argsort(cells.representative[kept_cells])]
    place = np.full(len(cells.counts), -1, np.int64)
    place[kept_cells] = np.arange(len(kept_cells))
    return Removal(
        kept=cells.representative[kept_cells],
        stands_for=place[cells.of_row],
        exact=len(rows) - cells.distinct_wordings,
        near_exact=cells.distinct_wordings - len(cells.counts),
        contradictory=len(cells.counts) - len(kept_cells),
        ambiguous_prompts=ambiguous,
    )


def _cells(rows: Rows) -> _Cells:
    of_row = group_numbers(rows.pair_keys)
    counts = np.bincount(of_row)
    representative = np.zeros(len(counts), np.int64)
    # The common case, a row without a repeat, needs no look at its digest.
    repeated = counts[of_row] > 1
    single = np.flatnonzero(~repeated)
    representative[of_row[single]] = single
    several = np.flatnonzero(repeated)
    wordings = _wordings(rows, several, of_row[several])
    for cell, row in wordings.most_frequent(rows):
        representative[cell] = row
    return _Cells(of_row, counts, representative, len(single) + len(wordings.starts))


@dataclass(frozen=True)
class _Wordings:
    """Runs of rows with one digest, by cell and digest: run i is `rows[starts[i] : stops[i]]`."""

    rows: Positions
    cells: Positions
    starts: Positions
    stops: Positions

    def most_frequent(self, rows: Rows) -> list[tuple[int, int]]:
        """For each cell the row that stands for it."""
        counts = self.stops - self.starts
        # Runs of a cell ascend by digest, so the smallest digest wins among equals.
        order = np.lexsort((np.arange(len(counts)), -counts, self.cells[self.starts]))
        cells = self.cells[self.starts][order]
        best = order[_starts_of(cells[:, None])]
        return [
            (int(self.cells[start]), _first_by_name(rows, self.rows[start:stop]))
            for start, stop in zip(self.starts[best], self.stops[best], strict=True)
        ]


def _wordings(rows: Rows, several: Positions, cells: Positions) -> _Wordings:
    words = rows.digests[several].view(">u8").astype(np.uint64)
    order = np.lexsort((*(words[:, column] for column in (3, 2, 1, 0)), cells))
    several, cells, words = several[order], cells[order], words[order]
    starts = _starts_of(np.column_stack((cells.astype(np.uint64), words)))
    return _Wordings(several, cells, starts, np.append(starts, len(several))[1:])


def _first_by_name(rows: Rows, same: Positions) -> int:
    """Of rows with one digest the first by source and place."""
    if len(same) == 1:
        return int(same[0])

    def name(row: int) -> tuple[str, str]:
        example = rows.examples.read(row)
        return example.source, example.place

    return min(same.tolist(), key=name)


def group_numbers(keys: Keys) -> Positions:
    """For each row of `keys` (n, words) the number of its value among the distinct ones."""
    order = np.lexsort(tuple(keys.T))
    starts = _starts_of(keys[order])
    numbers = np.empty(len(keys), np.int64)
    numbers[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
    return numbers


def _starts_of(ordered: Keys | Positions) -> Positions:
    """Where in equal neighbours (n, words) a new value begins."""
    fresh = np.ones(len(ordered), np.bool_)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.flatnonzero(fresh)


def _settle(rows: Rows, cells: _Cells, rule: Rule) -> tuple[Flags, int]:
    """Which cells stay, and how many prompts have several answers."""
    stays = np.ones(len(cells.counts), np.bool_)
    asking = np.flatnonzero(rows.has_prompt[cells.representative])
    if not len(asking):
        return stays, 0
    prompts = group_numbers(rows.prompt_keys[cells.representative[asking]])
    labels = rows.label_keys(np.arange(len(rows)))
    is_label = np.isin(rows.answer_keys[cells.representative], labels)
    order = np.argsort(prompts, kind="stable")
    starts = _starts_of(prompts[order][:, None])
    stops = np.append(starts, len(order))[1:]
    several = stops - starts > 1
    for start, stop in zip(starts[several], stops[several], strict=True):
        answers = asking[order[start:stop]]
        rivals = answers[is_label[answers]]
        stays[_fallen(rivals, cells.counts[rivals], rule)] = False
    return stays, int(several.sum())


def _fallen(rivals: Positions, counts: Positions, rule: Rule) -> Sequence[int]:
    """Which of the labels given to one prompt don't stay."""
    if len(rivals) < 2 or rule == "keep":
        return []
    wins = counts == counts.max()
    if rule == "drop" or wins.sum() > 1:
        return rivals.tolist()
    return rivals[~wins].tolist()
