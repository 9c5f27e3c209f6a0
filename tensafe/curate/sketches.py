"""Sketches of texts, and the pairs of texts that their sketches propose as near-duplicates.

A sketch has MinHash bands, which propose a pair when one band agrees (Leskovec et al., Mining of
Massive Datasets, section 3.4), and a bitmap of its shingles, which bounds the similarity of a pair
from above and so refuses most false proposals without looking at the texts.

Work is bounded: where a band puts more than `_NEIGHBOURS` texts into one bucket, each is compared
with its neighbours in three orders that other bands give, and not with all. What is proposed
depends on the set of texts alone, not on their order nor on how they were cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tensafe.curate.shingling import Keys, Positions, is_first, shingle_keys

_PERMUTATIONS, _SEED = 150, 20260101
# Share of the pairs at the limit that no band proposes. Fewer rows a band miss fewer of them, and
# propose more pairs that are not alike, whose number grows with the square of the texts.
_MISSED, _MISSED_OF_MANY, _MANY = 1e-5, 1e-3, 20_000
_BITS = 512
_NEIGHBOURS = 48
_CHUNK_TEXTS, _CHUNK_CHARS = 4096, 1 << 19
_PAIRS = 1 << 16
_HIGH = np.uint64(32)
_MIX = np.uint64(0xD6E8FEB86659FD93)

Bands = NDArray[np.uint32]
Pairs = tuple[Positions, Positions]


@dataclass(frozen=True)
class Sketches:
    """Sketches of n texts: keys of the bands (B, n), bitmaps (n, 8), numbers of shingles (n,)."""

    bands: Bands
    bitmaps: Keys
    sizes: Positions


def band_rows(limit: float, texts: int) -> int:
    """Rows of a band: as many as still miss few pairs at `limit` (4 at 0.75, 5 for many texts)."""
    missed = _MISSED if texts <= _MANY else _MISSED_OF_MANY
    fits = [
        rows
        for rows in range(1, _PERMUTATIONS + 1)
        if (1 - limit**rows) ** (_PERMUTATIONS // rows) <= missed
    ]
    return max(fits)


def sketch_texts(texts: Sequence[str], positions: Positions, limit: float) -> Sketches:
    """Sketches of the plain texts at `positions`, in that order, to find pairs at `limit`."""
    count = len(positions)
    rows = band_rows(limit, count)
    sketches = Sketches(
        np.zeros((_PERMUTATIONS // rows, count), np.uint32),
        np.zeros((count, _BITS // 64), np.uint64),
        np.zeros(count, np.int64),
    )
    # Texts lie in a file: they are read in the order in which they lie there.
    for numbers, chunk in _chunks(texts, positions, np.argsort(positions, kind="stable")):
        shingles = shingle_keys(chunk)
        for block in shingles.blocks():
            keys = shingles.matrix(block)
            here = numbers[block]
            sketches.sizes[here] = is_first(np.sort(keys, axis=1)).sum(axis=1)
            sketches.bitmaps[here] = _bitmaps(keys)
            sketches.bands[:, here] = _bands(keys, rows)
    return sketches


def _chunks(
    texts: Sequence[str], positions: Positions, order: Positions
) -> Iterator[tuple[Positions, list[str]]]:
    chunk: list[str] = []
    chars = start = 0
    for stop, number in enumerate(order.tolist(), start=1):
        text = texts[int(positions[number])]
        chunk.append(text)
        chars += len(text)
        if stop - start == _CHUNK_TEXTS or chars >= _CHUNK_CHARS or stop == len(order):
            yield order[start:stop], chunk
            chunk, chars, start = [], 0, stop


def _bitmaps(keys: Keys) -> Keys:
    flags = np.zeros((len(keys), _BITS), np.bool_)
    flags[np.arange(len(keys))[:, None], keys & np.uint64(_BITS - 1)] = True
    return np.packbits(flags, axis=1).view(np.uint64)


def _bands(keys: Keys, rows: int) -> Bands:
    """Keys of the bands (B, texts). A row is the least of the shingles' keys times an odd factor.

    The product is taken modulo 2^32, which permutes the odd numbers.
    """
    hashes_SN = np.ascontiguousarray((keys >> _HIGH).astype(np.uint32).T) | np.uint32(1)
    product_SN = np.empty_like(hashes_SN)
    factors = np.random.Generator(np.random.PCG64(_SEED)).integers(
        0, 2**32, _PERMUTATIONS, dtype=np.uint32
    ) | np.uint32(1)
    bands = np.empty((_PERMUTATIONS // rows, len(keys)), np.uint32)
    for band in range(len(bands)):
        mixed = np.zeros(len(keys), np.uint64)
        for row in range(band * rows, (band + 1) * rows):
            np.multiply(hashes_SN, factors[row], out=product_SN)
            mixed = (mixed ^ product_SN.min(axis=0)) * _MIX
            mixed ^= mixed >> np.uint64(29)
        bands[band] = mixed >> _HIGH
    return bands


def proposed_pairs(sketches: Sketches) -> Iterator[Pairs]:
    """Pairs that one band or more proposes, in batches; a pair may come more than once."""
    bands = sketches.bands
    for band in range(len(bands)):
        # A key and a text number in one integer: sorting it is several times faster than argsort.
        tagged = bands[band].astype(np.uint64) << _HIGH | np.arange(bands.shape[1], dtype=np.uint64)
        tagged.sort()
        keys, members = tagged >> _HIGH, (tagged & np.uint64(2**32 - 1)).astype(np.int64)
        yield from _neighbours(keys, members)
        crowded = _in_large_buckets(keys)
        if len(crowded):
            keys, members = keys[crowded], members[crowded]
            for step in (1, 7):
                other = bands[(band + step) % len(bands)][members]
                order = np.lexsort((members, other, keys))
                yield from _neighbours(keys[order], members[order])


def _neighbours(keys: Keys, members: Positions) -> Iterator[Pairs]:
    """Pairs of members with equal keys that stand at most `_NEIGHBOURS` places apart."""
    places = np.arange(len(keys))
    for distance in range(1, _NEIGHBOURS + 1):
        places = places[places + distance < len(keys)]
        places = places[keys[places] == keys[places + distance]]
        if not len(places):
            return
        for start in range(0, len(places), _PAIRS):
            part = places[start : start + _PAIRS]
            yield members[part], members[part + distance]


def _in_large_buckets(keys: Keys) -> Positions:
    _, starts, counts = np.unique(keys, return_index=True, return_counts=True)
    large = counts > _NEIGHBOURS + 1
    return np.concatenate(
        [np.arange(s, s + c) for s, c in zip(starts[large], counts[large], strict=True)]
        or [np.zeros(0, np.int64)]
    )


def may_be_alike(sketches: Sketches, left: Positions, right: Positions, limit: float) -> Positions:
    """Which pairs may reach `limit`; those left out can't.

    A bit that only one side has stands for a shingle that only this side has.
    """
    sizes = sketches.sizes[left], sketches.sizes[right]
    near = np.flatnonzero(np.minimum(*sizes) >= limit * np.maximum(*sizes))
    one, other = sketches.bitmaps[left[near]], sketches.bitmaps[right[near]]
    shared_at_most = np.minimum(
        sizes[0][near] - np.bitwise_count(one & ~other).sum(axis=1, dtype=np.int64),
        sizes[1][near] - np.bitwise_count(other & ~one).sum(axis=1, dtype=np.int64),
    )
    total = sizes[0][near] + sizes[1][near] - shared_at_most
    return near[shared_at_most / total >= limit]
