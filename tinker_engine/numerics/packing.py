"""Cutting a request's examples into microbatches with little or no padding.

Rows are tokens laid end to end. A microbatch is described by groups: `count` examples of equal
`length` whose rows follow each other, so a group can be viewed as (count, length, width) without
a copy. Exact plans have no padding at all; padded plans give one group per microbatch, whose
examples are at most `PAD_RATIO` longer than the shortest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinker_engine.runtime.records import IntArray

PAD_RATIO = 1.15


@dataclass(frozen=True)
class Group:
    """Rows `start .. start + count * length` hold examples `first .. first + count`."""

    start: int
    count: int
    length: int
    first: int

    @property
    def stop(self) -> int:
        return self.start + self.count * self.length

    @property
    def last(self) -> int:
        """The example after this group's."""
        return self.first + self.count


@dataclass(frozen=True)
class Microbatch:
    """`indices[k]` is the request's index of example k, whose rows start at `offsets[k]`."""

    indices: tuple[int, ...]
    offsets: tuple[int, ...]
    groups: tuple[Group, ...]
    rows: int

    def fill(self, arrays: Sequence[IntArray], out: IntArray) -> IntArray:
        """Copy each example's array into its rows of `out` (rows,); padding keeps its value."""
        for index, offset in zip(self.indices, self.offsets, strict=True):
            array = arrays[index]
            out[offset : offset + len(array)] = array
        return out


@dataclass(frozen=True)
class Limits:
    """Largest microbatch: `rows` tokens (one longer example may exceed it) and `examples`."""

    rows: int = 2048
    examples: int = 64


def plan_exact(
    lengths: Sequence[int],
    limits: Limits,
    owners: Sequence[int] | None = None,
    units: Sequence[int] | None = None,
) -> list[Microbatch]:
    """Microbatches without padding; examples sorted by length, groups of equal length.

    With `owners` (one number per example), an owner's examples follow each other in a microbatch
    and share their groups with nobody. With `units`, a unit's examples are in one microbatch.
    """
    plans: list[Microbatch] = []
    for chunk in _chunks(lengths, limits, ratio=None, owners=owners, units=units):
        groups: list[Group] = []
        offsets: list[int] = []
        row = 0
        for k, index in enumerate(chunk):
            length = lengths[index]
            is_new = k > 0 and owners is not None and owners[index] != owners[chunk[k - 1]]
            if groups and groups[-1].length == length and not is_new:
                last = groups[-1]
                groups[-1] = Group(last.start, last.count + 1, length, last.first)
            else:
                groups.append(Group(row, 1, length, k))
            offsets.append(row)
            row += length
        plans.append(Microbatch(tuple(chunk), tuple(offsets), tuple(groups), row))
    return plans


def plan_padded(
    lengths: Sequence[int],
    limits: Limits,
    owners: Sequence[int] | None = None,
    units: Sequence[int] | None = None,
) -> list[Microbatch]:
    """Microbatches of near-equal lengths, padded on the right to the longest.

    `owners` and `units` as in `plan_exact`; the examples of one unit may differ more in length.
    """
    plans: list[Microbatch] = []
    for chunk in _chunks(lengths, limits, ratio=PAD_RATIO, owners=owners, units=units):
        length = max(lengths[i] for i in chunk)
        offsets = tuple(k * length for k in range(len(chunk)))
        group = Group(0, len(chunk), length, 0)
        plans.append(Microbatch(tuple(chunk), offsets, (group,), group.stop))
    return plans


def _chunks(
    lengths: Sequence[int],
    limits: Limits,
    *,
    ratio: float | None,
    owners: Sequence[int] | None,
    units: Sequence[int] | None,
) -> list[list[int]]:
    """Indices of units sorted by length (ties in request order), cut where a limit would be passed.

    Then each chunk is sorted by length, and by owner where there are owners.
    """
    chunks: list[list[int]] = []
    rows = shortest = 0
    for unit in _sorted_units(lengths, units):
        longest, size = max(lengths[i] for i in unit), sum(lengths[i] for i in unit)
        current = chunks[-1] if chunks else []
        is_full = len(current) + len(unit) > limits.examples
        if ratio is None:
            is_full = is_full or rows + size > limits.rows
        elif current:
            is_full = is_full or (len(current) + len(unit)) * longest > limits.rows
            is_full = is_full or longest > ratio * shortest
        if not current or is_full:
            chunks.append([*unit])
            rows, shortest = size, longest
        else:
            current.extend(unit)
            rows += size
    for chunk in chunks:
        chunk.sort(key=lambda index: (owners[index] if owners else 0, lengths[index], index))
    return chunks


def _sorted_units(lengths: Sequence[int], units: Sequence[int] | None) -> list[list[int]]:
    """The indices of each unit, ordered by the unit's longest example; by default one a unit."""
    if units is None:
        order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
        return [[index] for index in order]
    members: dict[int, list[int]] = {}
    for index, unit in enumerate(units):
        members.setdefault(unit, []).append(index)
    return sorted(members.values(), key=lambda unit: max(lengths[i] for i in unit))


def part_of(batch: Microbatch, first: int, last: int) -> Microbatch:
    """Examples `first .. last` of a microbatch as one of their own, its rows counted from 0."""
    start = batch.offsets[first]
    groups: list[Group] = []
    for group in batch.groups:
        low, high = max(group.first, first), min(group.last, last)
        if low < high:
            row = group.start + (low - group.first) * group.length - start
            groups.append(Group(row, high - low, group.length, low - first))
    offsets = tuple(offset - start for offset in batch.offsets[first:last])
    return Microbatch(batch.indices[first:last], offsets, tuple(groups), groups[-1].stop)


def split_rows(groups: Sequence[Group], start: int, stop: int) -> list[Group]:
    """The groups as seen by rows `start .. stop` alone, with row numbers relative to `start`.

    An example cut by an edge becomes a group of its own with the length that is inside.
    """
    pieces: list[Group] = []
    for group in groups:
        low, high = max(group.start, start), min(group.stop, stop)
        row = low
        while row < high:
            k, inside = divmod(row - group.start, group.length)
            whole = (high - row) // group.length if inside == 0 else 0
            if whole:
                pieces.append(Group(row - start, whole, group.length, group.first + k))
                row += whole * group.length
            else:
                length = min(group.length - inside, high - row)
                pieces.append(Group(row - start, 1, length, group.first + k))
                row += length
    return pieces
