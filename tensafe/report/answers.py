"""Which held-out answers a report shows, by a rule that looks at no text and prefers no result.

Items stand in the order of SHA-256(content digest). Each of the four outcomes against the base
shows its first few, so that losses have the same place as gains; when an outcome has fewer, the
next items in that order fill the page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tensafe.evaluate.items import ItemResult

SHOWN = 12
RULE = (
    "Chosen by a fixed rule, not by hand: the tested items are put in the order of the SHA-256 of "
    "their content digest; the first four that the adapter answered better than the base, the "
    "first four that it answered worse, the first three that both missed alike and the first that "
    "both got right are shown. Where there are fewer, the next items in that order make it "
    f"{SHOWN}."
)


@dataclass(frozen=True)
class AnswerGroup:
    """Items of one outcome: the `shown` ones, out of `total`."""

    title: str
    total: int
    shown: tuple[ItemResult, ...]


@dataclass(frozen=True)
class _Outcome:
    title: str
    first: int
    holds: Callable[[ItemResult], bool]


_OUTCOMES = (
    _Outcome("Better than the base", 4, lambda item: item.score > item.base_score),
    _Outcome("Worse than the base", 4, lambda item: item.score < item.base_score),
    _Outcome("Missed by both", 3, lambda item: item.score == item.base_score < 1.0),
    _Outcome("Right in both", 1, lambda item: item.score == item.base_score == 1.0),
)


def choose_answers(items: Sequence[ItemResult]) -> tuple[AnswerGroup, ...]:
    """The four outcomes with their counts and shown items; `SHOWN` in all if there are as many."""
    ordered = sorted(items, key=lambda i: hashlib.sha256(i.digest.encode("ascii")).hexdigest())
    members = [[item for item in ordered if outcome.holds(item)] for outcome in _OUTCOMES]
    chosen = {
        id(item)
        for outcome, group in zip(_OUTCOMES, members, strict=True)
        for item in group[: outcome.first]
    }
    rest = [item for item in ordered if id(item) not in chosen]
    chosen.update(id(item) for item in rest[: max(0, SHOWN - len(chosen))])
    return tuple(
        AnswerGroup(outcome.title, len(group), tuple(i for i in group if id(i) in chosen))
        for outcome, group in zip(_OUTCOMES, members, strict=True)
    )
