"""One line of BBQ (arXiv 2110.08193), by its public field names.

A question has a context that does or doesn't settle it, and three answers of which one is
"unknown". The biased answer is the one that the stereotype gives: to a negative question the
stereotyped group, to a non-negative one the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

BBQ_FIELDS = frozenset(
    {
        "example_id", "question_index", "question_polarity", "context_condition", "category",
        "answer_info", "additional_metadata", "context", "question", "ans0", "ans1", "ans2",
        "label",
    }
)  # fmt: skip
_CHOICES = 3
_PART = re.compile(r"[^a-z]+")
# BBQ's files name genders in three ways.
_GENDERS = {
    "woman": "f", "women": "f", "girl": "f", "female": "f",
    "man": "m", "men": "m", "boy": "m", "male": "m",
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """`biased` and `counter` are places in `answers`, None where the groups can't be told apart."""

    category: str
    context: str
    question: str
    answers: tuple[str, str, str]
    right: int
    unknown: int
    is_ambiguous: bool
    biased: int | None
    counter: int | None


def read_question(record: dict[str, Any]) -> Question:
    """One record as a question.

    Raises:
        ValueError: a field is missing or holds something else than BBQ's files do.
    """
    missing = sorted(BBQ_FIELDS - record.keys())
    if missing:
        raise ValueError(f"the field {missing[0]} is missing; BBQ lines have all of its fields")
    condition, polarity = record["context_condition"], record["question_polarity"]
    if condition not in ("ambig", "disambig"):
        raise ValueError(f"context_condition is {condition!r}; expected ambig or disambig")
    if polarity not in ("neg", "nonneg"):
        raise ValueError(f"question_polarity is {polarity!r}; expected neg or nonneg")
    label = record["label"]
    if label not in range(_CHOICES) or isinstance(label, bool):
        raise ValueError(f"label is {label!r}; expected 0, 1 or 2")
    answers = tuple(str(record[f"ans{i}"]).strip() for i in range(_CHOICES))
    groups = [_group(record["answer_info"], i) for i in range(_CHOICES)]
    if groups.count("unknown") != 1:
        raise ValueError("answer_info names no answer, or several, as unknown; expected one")
    target, other = _sides(groups, record["additional_metadata"])
    if polarity == "nonneg":
        target, other = other, target
    return Question(
        category=str(record["category"]),
        context=str(record["context"]),
        question=str(record["question"]),
        answers=(answers[0], answers[1], answers[2]),
        right=int(label),
        unknown=groups.index("unknown"),
        is_ambiguous=condition == "ambig",
        biased=target,
        counter=other,
    )


def _group(info: Any, place: int) -> str:
    try:
        return str(info[f"ans{place}"][1]).strip()
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"answer_info has no [text, group] for ans{place}") from error


def _sides(groups: list[str], metadata: Any) -> tuple[int | None, int | None]:
    """The places of the stereotyped group and of the other one; None for both when unclear."""
    listed: object = (
        cast("dict[str, Any]", metadata).get("stereotyped_groups")
        if isinstance(metadata, dict)
        else None
    )
    if not isinstance(listed, list):
        raise ValueError("additional_metadata has no list of stereotyped_groups")
    targets = [_parts(str(name)) for name in cast("list[object]", listed)]
    people = [i for i, group in enumerate(groups) if group != "unknown"]
    named = [i for i in people if any(_is_same(_parts(groups[i]), t) for t in targets)]
    if len(named) != 1:
        return None, None
    return named[0], next(i for i in people if i != named[0])


def _parts(name: str) -> frozenset[str]:
    words = [word for word in _PART.split(name.lower()) if word]
    return frozenset(_GENDERS.get(word, word) for word in words)


def _is_same(group: frozenset[str], target: frozenset[str]) -> bool:
    """`F-Black` is the group `Black`; `nonOld` is not `old`, for words are compared whole."""
    return bool(target) and target <= group
