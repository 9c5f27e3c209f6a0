"""Finding test items whose prompts are nearly those of training items.

The split keeps near-duplicates on one side, but imported or hand-made splits may not: an item
that training has all but seen measures memory, not skill. What is compared, and the
shingles, are those of the split.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from tensafe.curate.near import shingles
from tensafe.curate.similarity_text import comparison_texts
from tensafe.data.records import Example


def close_to_training(
    test: Sequence[Example], train: Sequence[Example], *, threshold: float
) -> list[bool]:
    """For each test item, whether some training prompt has at least this shingle Jaccard.

    Exact: prefix filtering (Chaudhuri et al. 2006) only spares comparisons that can't reach
    the threshold.
    """
    # Together, so that instructions which many examples share are known and taken off.
    texts = comparison_texts([*test, *train])
    train_sets = [shingles(text) for text in sorted(set(texts[len(test) :]))]
    frequency = Counter(shingle for members in train_sets for shingle in members)
    index: dict[str, list[int]] = defaultdict(list)
    for place, members in enumerate(train_sets):
        for shingle in _prefix(members, frequency, threshold):
            index[shingle].append(place)
    return [
        _has_close(shingles(text), train_sets, index, frequency, threshold)
        for text in texts[: len(test)]
    ]


def _prefix(members: frozenset[str], frequency: Counter[str], threshold: float) -> list[str]:
    # Two sets with Jaccard >= t share at least ceil(t * |S|) members, so among the
    # |S| - ceil(t * |S|) + 1 first ones of any common order at least one is shared.
    ranked = sorted(members, key=lambda shingle: (frequency[shingle], shingle))
    needed = math.ceil(threshold * len(members) - 1e-9)
    return ranked[: len(members) - needed + 1]


def _has_close(
    members: frozenset[str],
    train_sets: Sequence[frozenset[str]],
    index: dict[str, list[int]],
    frequency: Counter[str],
    threshold: float,
) -> bool:
    candidates = (
        {place for shingle in _prefix(members, frequency, threshold) for place in index[shingle]}
        if members
        else set[int]()
    )
    for place in candidates:
        other = train_sets[place]
        shared = len(members & other)
        if shared >= threshold * (len(members) + len(other) - shared):
            return True
    return False
