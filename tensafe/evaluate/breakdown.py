"""Scores by source, by rule and by label, and which labels are taken for which."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tensafe.data.records import Example
from tensafe.evaluate.items import ItemResult
from tensafe.evaluate.normalise import normalised, words

OTHER = "(no label)"


@dataclass(frozen=True)
class GroupScore:
    """Mean scores of one group of test items; `train_items` is the group's training size."""

    name: str
    items: int
    train_items: int
    score: float
    base_score: float


@dataclass(frozen=True)
class Confusion:
    """`count` items labelled `reference` were answered with another label, or with none."""

    reference: str
    answered: str
    count: int


def closed_labels(
    examples: Iterable[Example], *, min_repeats: int, max_words: int
) -> dict[str, int]:
    """Normalised answers that at least `min_repeats` examples share, with their counts.

    Repeats count distinct prompts, so that a copied row doesn't make its answer a label.
    """
    prompts: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        if example.kind == "text":
            continue
        answer = words(example.reference)
        if answer and len(answer) <= max_words:
            asked = "\n".join(message["content"] for message in example.prompt)
            prompts[" ".join(answer)].add(asked.casefold())
    return {answer: len(asked) for answer, asked in prompts.items() if len(asked) >= min_repeats}


def by_group(
    results: Sequence[ItemResult], key: Callable[[ItemResult], str], train_counts: Mapping[str, int]
) -> tuple[GroupScore, ...]:
    """Mean scores per group, worst first; items whose key is "" are left out."""
    groups: dict[str, list[ItemResult]] = defaultdict(list)
    for result in results:
        if name := key(result):
            groups[name].append(result)
    scored = [
        GroupScore(
            name,
            len(members),
            train_counts.get(name, 0),
            math.fsum(m.score for m in members) / len(members),
            math.fsum(m.base_score for m in members) / len(members),
        )
        for name, members in groups.items()
    ]
    return tuple(sorted(scored, key=lambda group: (group.score, group.name)))


def confusions(results: Iterable[ItemResult], labels: Mapping[str, int]) -> tuple[Confusion, ...]:
    """Wrong answers to labelled items, most frequent pair first."""
    pairs: Counter[tuple[str, str]] = Counter()
    for result in results:
        answered = normalised(result.answer)
        if result.label and answered != result.label:
            pairs[result.label, answered if answered in labels else OTHER] += 1
    ranked = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Confusion(wanted, given, count) for (wanted, given), count in ranked)
