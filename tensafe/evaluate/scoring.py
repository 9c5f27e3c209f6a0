"""How one answer is scored against its reference.

The rule is chosen from the reference alone, so that the adapter and the base are judged alike:

- `final_number`: a worked solution ending in `#### N`: the final numbers are equal;
- `number`: the reference is a quantity: the answer states that quantity and no other;
- `json`: the reference is a JSON object or array: equal values;
- `closed`: the reference belongs to a closed set of answers (labels): normalised exact match;
- `list`: the reference enumerates items: equal sets, equal order when it is numbered;
- `f1`: any other text: F1 of normalised tokens.

A normalised exact match scores 1 under every rule but `json`. All rules but `f1` score 0 or 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tensafe.data.records import Message
from tensafe.evaluate.lists import answered_items, is_same_json, items, json_value
from tensafe.evaluate.normalise import normalised, words
from tensafe.evaluate.numbers import (
    final_number,
    has_final_mark,
    is_same_quantity,
    sole_quantity,
    states_quantity,
)

Rule = Literal["closed", "final_number", "number", "json", "list", "f1"]


@dataclass(frozen=True)
class Score:
    """`value` in [0, 1] and the rule that gave it; `is_exact` marks a normalised exact match."""

    value: float
    rule: Rule
    is_exact: bool


@dataclass(frozen=True)
class Answered:
    """One test item with a model's answer, as extra scorers see it."""

    prompt: tuple[Message, ...]
    reference: str
    answer: str


class AnswerScorer(Protocol):
    """A second opinion (a judge model, an embedding) reported beside the score, never in place."""

    @property
    def name(self) -> str:
        """Key of this scorer's mean in the report."""
        ...

    def scores(self, answered: Sequence[Answered]) -> list[float]:
        """One value in [0, 1] per item, in order."""
        ...


def rule_for(reference: str, *, is_closed: bool = False) -> Rule:
    """The rule by which answers to this reference are judged."""
    if has_final_mark(reference):
        return "final_number"
    if sole_quantity(reference) is not None:
        return "number"
    if json_value(reference) is not None:
        return "json"
    if is_closed:
        return "closed"
    return "list" if items(reference) is not None else "f1"


def score_answer(answer: str, reference: str, *, is_closed: bool = False) -> Score:
    """Score `answer` in [0, 1] by the rule of its reference."""
    rule = rule_for(reference, is_closed=is_closed)
    # Punctuation carries the structure of JSON, so normalised equality would forgive its loss.
    is_exact = answer.strip() == reference.strip() or (
        rule != "json" and is_exact_match(answer, reference)
    )
    if is_exact:
        return Score(1.0, rule, is_exact=True)
    if rule == "f1":
        return Score(token_f1(answer, reference), rule, is_exact=False)
    return Score(float(_is_right(answer, reference, rule)), rule, is_exact=False)


def is_exact_match(answer: str, reference: str) -> bool:
    """Equal after normalisation; numbers that differ in sign or decimals stay different."""
    return normalised(answer) == normalised(reference)


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of token precision and recall over multisets (SQuAD, arXiv 1606.05250)."""
    given, wanted = words(answer), words(reference)
    shared = sum((Counter(given) & Counter(wanted)).values())
    if shared == 0:
        return 0.0
    return 2.0 * shared / (len(given) + len(wanted))


def _is_right(answer: str, reference: str, rule: Rule) -> bool:
    if rule == "final_number":
        given, wanted = final_number(answer), final_number(reference)
        return given is not None and wanted is not None and is_same_quantity(given, wanted)
    if rule == "number":
        wanted = sole_quantity(reference)
        return wanted is not None and states_quantity(answer, wanted)
    if rule == "json":
        wanted_value, given_value = json_value(reference), json_value(answer)
        return (
            wanted_value is not None
            and given_value is not None
            and is_same_json(given_value[1], wanted_value[1])
        )
    if rule == "list":
        wanted_items, given_items = items(reference), answered_items(answer)
        return (
            wanted_items is not None
            and given_items is not None
            and wanted_items.equals(given_items)
        )
    return False
