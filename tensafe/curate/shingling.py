"""Shingles of many texts at once, as 64-bit keys in flat arrays.

A shingle is a character 4-gram of a plain text set off by a space at each end, as `near.shingles`
has it; a text too short for one is its own shingle. Its key is a polynomial of its code points
modulo 2^64, mixed: the same in every process, and two different shingles share one with
probability 2^-64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHINGLE_CHARS = 4
Keys = NDArray[np.uint64]
Positions = NDArray[np.int64]

_FACTOR, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
# Small enough that a block and its temporaries stay in the second-level cache.
_BLOCK_CELLS = 1 << 17
# Fills up rows; no shingle has it but with probability 2^-64.
_FILLER = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class Shingles:
    """Keys of some texts: text i has `keys[starts[i] : starts[i] + counts[i]]`."""

    keys: Keys
    starts: Positions
    counts: Positions

    def blocks(self) -> Iterator[Positions]:
        """All texts in groups of about equal count that make small matrices; the longest first."""
        yield from blocks_of(self.counts)

    def matrix(self, texts: Positions) -> Keys:
        """A row of keys for each text; short rows repeat their last key."""
        columns = np.arange(int(self.counts[texts].max()))
        inside = np.minimum(columns[None, :], self.counts[texts][:, None] - 1)
        return self.keys[self.starts[texts][:, None] + inside]


def blocks_of(sizes: Positions) -> Iterator[Positions]:
    """Positions in descending order of size, cut so that count times largest size is bounded."""
    order = np.argsort(-sizes, kind="stable")
    start = 0
    while start < len(order):
        width = max(1, int(sizes[order[start]]))
        stop = start + max(1, _BLOCK_CELLS // width)
        yield order[start:stop]
        start = stop


def shingle_keys(plain_texts: Sequence[str]) -> Shingles:
    """The shingles of each text in order of occurrence, repeats included."""
    # Two zeros behind each text complete the only window of a text of less than two characters.
    joined = " " + " \0\0 ".join(plain_texts) + " \0\0"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    keys = codes[3:] * _FACTOR
    for offset in (2, 1):
        keys += codes[offset : offset - 3]
        keys *= _FACTOR
    keys += codes[:-3]
    keys ^= keys >> np.uint64(32)
    keys *= _MIX
    keys ^= keys >> np.uint64(29)
    lengths = np.fromiter(map(len, plain_texts), np.int64, len(plain_texts))
    ends = np.cumsum(lengths + SHINGLE_CHARS)
    return Shingles(keys, ends - lengths - SHINGLE_CHARS, np.maximum(lengths - 1, 1))


def shingle_sets(plain_texts: Sequence[str]) -> Shingles:
    """The distinct shingles of each text, ascending."""
    shingles = shingle_keys(plain_texts)
    pieces: list[Keys] = []
    starts, counts = np.zeros_like(shingles.starts), np.zeros_like(shingles.counts)
    base = 0
    for block in shingles.blocks():
        ranked = np.sort(shingles.matrix(block), axis=1)
        fresh = is_first(ranked)
        sizes = fresh.sum(axis=1)
        counts[block] = sizes
        starts[block] = base + np.cumsum(sizes) - sizes
        pieces.append(ranked[fresh])
        base += int(sizes.sum())
    return Shingles(np.concatenate(pieces), starts, counts)


def is_first(ranked: Keys) -> NDArray[np.bool_]:
    """In rows in ascending order, where a value occurs for the first time."""
    fresh = np.ones(ranked.shape, np.bool_)
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=fresh[:, 1:])
    return fresh


def shared_counts(sets: Shingles, left: Positions, right: Positions) -> Positions:
    """For each pair of texts of `shingle_sets`, how many shingles both have."""
    found = np.zeros(len(left), np.int64)
    for block in blocks_of(sets.counts[left] + sets.counts[right]):
        sides = [_filled(sets, side[block]) for side in (left, right)]
        both = np.sort(np.concatenate(sides, axis=1), axis=1)
        same = (both[:, 1:] == both[:, :-1]) & (both[:, 1:] != _FILLER)
        found[block] = same.sum(axis=1)
    return found


def _filled(sets: Shingles, texts: Positions) -> Keys:
    rows = sets.matrix(texts)
    rows[np.arange(rows.shape[1])[None, :] >= sets.counts[texts][:, None]] = _FILLER
    return rows
