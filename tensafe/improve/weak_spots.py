"""Groups of weak interactions, named by the words that set them apart from the rest of the traffic.

For the owner's eyes: what is trained on is decided for each interaction by itself, never by the
group that it falls into. Texts are TF-IDF vectors, reduced by a truncated SVD (Deerwester et al.
1990) and grouped by Ward's method; the same log gives the same groups.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from tensafe.evaluate.normalise import words
from tensafe.improve.interactions import Interaction
from tensafe.improve.scoring import Scored

SHOWN_EXAMPLES = 5
_NAME_WORDS = 3
_MOST_CLUSTERED = 2000
_MOST_GROUPS = 12
_DIMENSIONS = 16
_MEMBERS_EACH = 12

FloatMatrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WeakSpot:
    """One group: its name, how many weak interactions it has, and how they were answered.

    `answers` counts what the adapter said, `wanted` what should have been said as far as that is
    known; `examples` are the first few of what was asked.
    """

    name: str
    size: int
    bad: int
    answers: dict[str, int]
    wanted: dict[str, int]
    examples: tuple[str, ...]


def spot_of(document: dict[str, Any]) -> WeakSpot:
    """A weak spot from its JSON; raises KeyError or TypeError for anything else."""
    fields: dict[str, Any] = dict(document)
    fields["examples"] = tuple(fields["examples"])
    return WeakSpot(**fields)


def find_weak_spots(
    weak: Sequence[Scored], wanted: Sequence[str | None], traffic: Sequence[Interaction]
) -> list[WeakSpot]:
    """The groups, largest first; `wanted` are the better answers in the order of `weak`."""
    if not weak:
        return []
    # Numbers tell customers apart, not what they want.
    texts = [[word for word in words(one.interaction.asked) if not word.isdigit()] for one in weak]
    groups = _grouped(texts[:_MOST_CLUSTERED])
    common = Counter(word for one in traffic for word in set(words(one.asked)))
    spots: list[WeakSpot] = []
    for members in groups:
        answers = Counter(weak[i].interaction.answer.strip() for i in members)
        found = Counter(text for i in members if (text := wanted[i]) is not None)
        spots.append(
            WeakSpot(
                name=_name([texts[i] for i in members], common, len(traffic)),
                size=len(members),
                bad=sum(weak[i].verdict == "bad" for i in members),
                answers=dict(answers.most_common(3)),
                wanted=dict(found.most_common(3)),
                examples=tuple(weak[i].interaction.asked for i in members[:SHOWN_EXAMPLES]),
            )
        )
    return sorted(spots, key=lambda spot: (-spot.size, spot.name))


def _grouped(texts: Sequence[Sequence[str]]) -> list[list[int]]:
    count = len(texts)
    wanted = max(1, min(_MOST_GROUPS, round(count / _MEMBERS_EACH)))
    vectors = _vectors(texts)
    if wanted == 1 or vectors.shape[1] == 0:
        return [list(range(count))]
    hierarchy: Any = import_module("scipy.cluster.hierarchy")
    tree = hierarchy.linkage(vectors, method="ward")
    labels: list[int] = hierarchy.fcluster(tree, wanted, criterion="maxclust").tolist()
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        groups.setdefault(label, []).append(place)
    return list(groups.values())


def _vectors(texts: Sequence[Sequence[str]]) -> FloatMatrix:
    """Unit vectors (n, at most 16) of the texts."""
    documents = Counter(word for text in texts for word in set(text))
    known = sorted(word for word, count in documents.items() if count > 1)
    if not known:
        return np.zeros((len(texts), 0))
    place = {word: i for i, word in enumerate(known)}
    weights = np.zeros((len(texts), len(known)))
    for row, text in enumerate(texts):
        for word, times in Counter(text).items():
            if word in place:
                rarity = math.log((1 + len(texts)) / (1 + documents[word])) + 1.0
                weights[row, place[word]] = (1.0 + math.log(times)) * rarity
    weights /= np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
    left, strengths, _ = np.linalg.svd(weights, full_matrices=False)
    size = min(_DIMENSIONS, len(strengths))
    reduced: FloatMatrix = left[:, :size] * strengths[:size]
    units: FloatMatrix = reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)
    # Rounding errors alone must not make two groups of equal texts.
    return np.round(units, 9)


def _name(texts: Sequence[Sequence[str]], common: Counter[str], traffic: int) -> str:
    """The words that are most over-represented, by smoothed log odds times their count."""
    inside = Counter(word for text in texts for word in set(text) if len(word) > 2)

    def weight(word: str) -> float:
        here = (inside[word] + 0.5) / (len(texts) + 1)
        return inside[word] * math.log(here * (traffic + 1) / (common[word] + 0.5))

    ranked = sorted(inside, key=lambda word: (-weight(word), word))
    return ", ".join(ranked[:_NAME_WORDS]) or "(no words)"
