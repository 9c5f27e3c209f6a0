"""Finding test items whose prompts are nearly those of training items.

The split keeps near-duplicates on one side, but imported or hand-made splits may not: an item
that training has all but seen measures memory, not skill.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from tensafe.data.records import Example
from tensafe.evaluate.normalise import normalised

SHINGLE = 5


def asked_text(example: Example) -> str:
    """The user's side of the prompt, normalised; system turns are shared and say nothing."""
    turns = [m["content"] for m in example.prompt if m["role"] == "user"]
    return normalised("\n".join(turns or [m["content"] for m in example.prompt]))


def shingles(text: str) -> frozenset[str]:
    """All runs of five characters; a shorter text is its own single shingle."""
    if len(text) <= SHINGLE:
        return frozenset((text,))
    return frozenset(text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1))


def close_to_training(
    test: Sequence[Example], train: Sequence[Example], *, threshold: float
) -> list[bool]:
    """For each test item, whether some training prompt has at least this shingle Jaccard.

    Exact: prefix filtering (Chaudhuri et al. 2006) only spares comparisons that can't reach
    the threshold.
    """
    train_sets = [shingles(text) for text in sorted({asked_text(e) for e in train})]
    frequency = Counter(shingle for members in train_sets for shingle in members)
    index: dict[str, list[int]] = defaultdict(list)
    for place, members in enumerate(train_sets):
        for shingle in _prefix(members, frequency, threshold):
            index[shingle].append(place)
    return [
        _has_close(shingles(asked_text(example)), train_sets, index, frequency, threshold)
        for example in test
    ]


def _prefix(members: frozenset[str], frequency: Counter[str], threshold: float) -> list[str]:
    # Two sets with Jaccard >= t share at least ceil(t * |S|) members, so among the
    # |S| - ceil(t * |S|) + 1 first ones of any common order at least one is shared.
    ranked = sorted(members, key=lambda shingle: (frequency[shingle], shingle))
    needed = -int(-(threshold * len(members)) // 1)
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
