"""Finds texts that are nearly the same: MinHash proposes candidates, true Jaccard decides.

The shingles are character 4-grams of the plain form (case, spacing and sentence punctuation
folded, digits kept). On texts of five to fifteen words, word shingles are too coarse to see a
typing error; and a normalisation that erased digits would make one text of fifty that differ in
their numbers.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from tensafe.curate.text import plain

SHINGLE_CHARS = 4
# 125 permutations in 25 bands of 5: a pair at Jaccard 0.75 is proposed with probability 0.9989, one
# at 0.8 with 0.99995, one at 0.2 with 0.008 (1 - (1 - s^5)^25; Leskovec et al., Mining of Massive
# Datasets, section 3.4).
_PERMUTATIONS, _BANDS, _SEED = 125, 25, 20260101
_CHUNK = 2048


class Clusters:
    """Disjoint sets over the integers 0..count-1 (union by smallest member, path halving)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, member: int) -> int:
        """The smallest member of the set."""
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def join(self, one: int, other: int) -> None:
        """Makes one set of two."""
        a, b = self.find(one), self.find(other)
        if a != b:
            self._parent[max(a, b)] = min(a, b)

    def sets(self) -> list[list[int]]:
        """All sets, each ascending, ordered by smallest member."""
        found: dict[int, list[int]] = defaultdict(list)
        for member in range(len(self._parent)):
            found[self.find(member)].append(member)
        return list(found.values())


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


def join_near(
    clusters: Clusters, members: Sequence[int], texts: Sequence[str], limit: float
) -> int:
    """Joins the members whose plain texts are alike to at least `limit`; gives back the joins.

    `texts[i]` belongs to `members[i]`. Equal texts are joined without hashing, so the cost depends
    on the number of distinct texts.
    """
    first: dict[str, int] = {}
    joins = 0
    for member, text in zip(members, texts, strict=True):
        if text in first:
            joins += clusters.find(first[text]) != clusters.find(member)
            clusters.join(first[text], member)
        else:
            first[text] = member
    distinct = sorted(first)
    for one, other in _similar_pairs(distinct, clusters, [first[text] for text in distinct], limit):
        clusters.join(one, other)
        joins += 1
    return joins


def _similar_pairs(
    texts: Sequence[str], clusters: Clusters, members: Sequence[int], limit: float
) -> Iterator[tuple[int, int]]:
    rensa: Any = import_module("rensa")
    index = rensa.RMinHashLSH(limit, _PERMUTATIONS, _BANDS)

    # Sets of shingles are some fifty times the size of their text: only recent ones are kept.
    @lru_cache(maxsize=_CHUNK)
    def recall(position: int) -> frozenset[str]:
        return shingles(texts[position])

    for start in range(0, len(texts), _CHUNK):
        chunk = [shingles(text) for text in texts[start : start + _CHUNK]]
        sketches = rensa.RMinHash.from_token_sets(
            [list(grams) for grams in chunk], _PERMUTATIONS, _SEED
        )
        for offset, (grams, sketch) in enumerate(zip(chunk, sketches, strict=True)):
            position = start + offset
            for candidate in index.query(sketch):
                mine, theirs = members[position], members[candidate]
                if clusters.find(mine) == clusters.find(theirs):
                    continue
                if _alike(grams, recall(candidate), limit):
                    yield mine, theirs
            index.insert(position, sketch)


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
