"""Removes repeated examples and settles contradictions, by content and never by order.

Repeats: same prompt and same answer but for case, spacing and sentence punctuation. One is kept:
the wording that occurs most often, among equals the one with the smallest digest.

Contradictions: the same prompt with different answers. Between labels (short answers that many
examples share) the most frequent one stands and ties are dropped, because nothing says which is
right. Free-text answers may all be right: they are kept and counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tensafe.curate.text import plain
from tensafe.data.records import Example

_LABEL_CHARS = 60
_LABEL_SHARED_BY = 5


@dataclass(frozen=True)
class Kept:
    """An example that stays, and the groups of the copies that went in its favour."""

    example: Example
    merged_groups: tuple[str, ...]


@dataclass(frozen=True)
class Removal:
    """What is left after repeats and contradictions were dealt with."""

    kept: tuple[Kept, ...]
    exact: int
    near_exact: int
    contradictory: int
    ambiguous_prompts: int


def label_answers(examples: Sequence[Example]) -> frozenset[str]:
    """The plain answers that act as labels: short, and shared by at least five examples."""
    counts = Counter(
        plain(example.reference)
        for example in examples
        if example.kind != "text" and len(example.reference) <= _LABEL_CHARS
    )
    return frozenset(answer for answer, count in counts.items() if count >= _LABEL_SHARED_BY)


def remove_duplicates(
    examples: Sequence[Example], contradictions: Literal["majority", "keep", "drop"]
) -> Removal:
    """The examples without repeats, and with contradictory labels settled."""
    copies: dict[tuple[str, str], list[Example]] = defaultdict(list)
    for example in examples:
        copies[_plain_prompt(example), plain(example.reference)].append(example)
    exact = sum(len(same) - len({one.digest for one in same}) for same in copies.values())
    by_prompt: dict[str, list[tuple[str, Kept, int]]] = defaultdict(list)
    for (prompt, answer), same in copies.items():
        by_prompt[prompt].append((answer, _representative(same), len(same)))
    labels = label_answers(examples)
    kept: list[Kept] = []
    contradictory = ambiguous = 0
    for prompt, answers in by_prompt.items():
        if not prompt or len(answers) == 1:
            kept.extend(entry for _, entry, _ in answers)
            continue
        ambiguous += 1
        standing = _standing(answers, labels, contradictions)
        kept.extend(standing)
        contradictory += len(answers) - len(standing)
    return Removal(
        tuple(kept), exact, len(examples) - exact - len(copies), contradictory, ambiguous
    )


def _plain_prompt(example: Example) -> str:
    return "\n".join(f"{turn['role']}: {plain(turn['content'])}" for turn in example.prompt)


def _representative(same: Sequence[Example]) -> Kept:
    counts = Counter(example.digest for example in same)
    best = min(same, key=lambda one: (-counts[one.digest], one.digest, one.source, one.place))
    return Kept(best, tuple(sorted({one.group for one in same})))


def _standing(
    answers: Sequence[tuple[str, Kept, int]],
    labels: frozenset[str],
    contradictions: Literal["majority", "keep", "drop"],
) -> list[Kept]:
    """Which of several answers to one prompt stay."""
    free = [entry for answer, entry, _ in answers if answer not in labels]
    rivals = [(count, entry) for answer, entry, count in answers if answer in labels]
    if len(rivals) < 2 or contradictions == "keep":
        return [entry for _, entry, _ in answers]
    most = max(count for count, _ in rivals)
    winners = [entry for count, entry in rivals if count == most]
    if contradictions == "drop" or len(winners) > 1:
        return free
    return [*free, *winners]
