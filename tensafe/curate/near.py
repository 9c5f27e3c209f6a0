"""Finds texts that are nearly the same: MinHash proposes candidates, true Jaccard decides.

The shingles are character 4-grams of the plain form (case, spacing and sentence punctuation
folded, digits kept). On texts of five to fifteen words, word shingles are too coarse to see a
typing error; and a normalisation that erased digits would make one text of fifty that differ in
their numbers.

Memory: about 180 bytes for each distinct text at the usual limit, whatever its length.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tensafe.curate.clusters import Clusters, Positions
from tensafe.curate.shingling import SHINGLE_CHARS, shared_counts, shingle_sets
from tensafe.curate.sketches import Sketches, may_be_alike, proposed_pairs, sketch_texts
from tensafe.curate.text import plain

__all__ = [
    "Clusters",
    "jaccard",
    "join_near",
    "pairs_across",
    "shingles",
    "similarity",
    "text_key",
]
# Pairs are verified in batches of about this many shingles.
_BATCH_SHINGLES = 1 << 20


def shingles(plain_text: str) -> frozenset[str]:
    """Character 4-grams of a plain text, set off by a space at each end."""
    padded = f" {plain_text} "
    if len(padded) <= SHINGLE_CHARS:
        return frozenset((padded,))
    last = len(padded) - SHINGLE_CHARS
    return frozenset({padded[start : start + SHINGLE_CHARS] for start in range(last + 1)})


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Size of the intersection over size of the union; 1.0 for two empty sets."""
    if not one and not other:
        return 1.0
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of two raw texts, as used for the split."""
    return jaccard(shingles(plain(one)), shingles(plain(other)))


def text_key(text: str, size_bytes: int = 8) -> bytes:
    """Bytes by which equal texts are recognised: BLAKE2b, the same in every process."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size_bytes).digest()


def join_near(
    clusters: Clusters, members: Sequence[int] | Positions, texts: Sequence[str], limit: float
) -> int:
    """Joins the members whose plain texts are alike to at least `limit`; gives back the joins.

    `texts[i]` belongs to `members[i]` and may be read from disk: it is asked for a few times at
    most. Equal texts are joined without comparing them.
    """
    numbers = np.asarray(members, np.int64)
    keys = np.frombuffer(bytearray().join(map(text_key, texts)), np.uint64)
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    joins = clusters.join_all(numbers[first[which]], numbers)
    if len(first) < 2:
        return joins
    sketches = sketch_texts(texts, first, limit)
    for left, right in proposed_pairs(sketches):
        roots = clusters.roots()
        apart = roots[numbers[first[left]]] != roots[numbers[first[right]]]
        left, right = left[apart], right[apart]
        possible = may_be_alike(sketches, left, right, limit)
        for part in _batches(sketches, left[possible], right[possible]):
            one, other = left[possible][part], right[possible][part]
            alike = _are_alike(texts, first[one], first[other], limit)
            joins += clusters.join_all(numbers[first[one[alike]]], numbers[first[other[alike]]])
    return joins


def _batches(sketches: Sketches, left: Positions, right: Positions) -> Iterator[slice]:
    total = np.cumsum(sketches.sizes[left] + sketches.sizes[right])
    start, before = 0, 0
    while start < len(total):
        stop = max(start + 1, int(np.searchsorted(total, before + _BATCH_SHINGLES)))
        yield slice(start, stop)
        start, before = stop, int(total[stop - 1])


def _are_alike(texts: Sequence[str], left: Positions, right: Positions, limit: float) -> Positions:
    """Which of the pairs of texts reach `limit`, by their full sets of shingles."""
    wanted, places = np.unique(np.concatenate((left, right)), return_inverse=True)
    sets = shingle_sets([texts[place] for place in map(int, wanted)])
    one, other = places[: len(left)], places[len(left) :]
    common = shared_counts(sets, one, other)
    sizes = sets.counts[one], sets.counts[other]
    reach = common / (sizes[0] + sizes[1] - common) >= limit
    return np.flatnonzero(reach & (np.minimum(*sizes) >= limit * np.maximum(*sizes)))


def _alike(one: frozenset[str], other: frozenset[str], limit: float) -> bool:
    smaller, larger = sorted((len(one), len(other)))
    # The sizes alone bound the similarity from above.
    return smaller >= limit * larger and jaccard(one, other) >= limit


def pairs_across(one: Sequence[str], other: Sequence[str], limit: float) -> list[tuple[int, int]]:
    """All pairs of plain texts, one from each side, that are near-duplicates (exact, slow).

    For tests and evidence: every pair that shares a rare shingle is compared.
    """
    left, right = [shingles(text) for text in one], [shingles(text) for text in other]
    holders: dict[str, list[int]] = defaultdict(list)
    for position, grams in enumerate(right):
        for gram in grams:
            holders[gram].append(position)
    found: list[tuple[int, int]] = []
    for position, grams in enumerate(left):
        # A pair at Jaccard s shares at least s * |A| shingles, hence one among any
        # (1 - s) * |A| + 1 of them: looking up the rarest ones misses nothing.
        rarest = sorted(grams, key=lambda gram: (len(holders.get(gram, ())), gram))
        needed = int((1 - limit) * len(grams)) + 1
        near = set(itertools.chain.from_iterable(holders.get(g, ()) for g in rarest[:needed]))
        found.extend(
            (position, candidate)
            for candidate in sorted(near)
            if _alike(grams, right[candidate], limit)
        )
    return found
