"""One test item with its answers and scores, and how the items came to be chosen."""

from __future__ import annotations

from dataclasses import dataclass

from tensafe.evaluate.scoring import Rule

SAMPLING_STATEMENT = (
    "items in ascending order of SHA-256(content digest), the first max_items of them"
)


@dataclass(frozen=True)
class ItemResult:
    """One test item with both models' answers; `label` is its closed answer, "" for free text."""

    digest: str
    source: str
    place: str
    prompt: str
    reference: str
    label: str
    rule: Rule
    answer: str
    base_answer: str
    score: float
    base_score: float
    is_exact: bool


@dataclass(frozen=True)
class Coverage:
    """How the test split became the items asked. Counts are of examples.

    `close_to_training`, `text_kind` and `blank` were left out; `asked` of the `scorable` rest
    were asked.
    """

    test_items: int
    text_kind: int
    blank: int
    close_to_training: int
    scorable: int
    asked: int
    sampling: str = SAMPLING_STATEMENT
