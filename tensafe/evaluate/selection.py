"""Which test items are asked, and how long an answer may be."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tensafe.data.records import Dataset, Example
from tensafe.errors import EvaluationError
from tensafe.evaluate.closeness import close_to_training
from tensafe.evaluate.config import QaVerifyConfig
from tensafe.evaluate.items import Coverage
from tensafe.evaluate.model import AnsweringModel

_CALIBRATION_ITEMS = 8
_LENGTH_STEP = 8


@dataclass(frozen=True)
class AnswerLengths:
    """Answer length per source in tokens, and how many bytes of answer a token holds at least."""

    by_source: dict[str, int]
    bytes_per_token: float
    longest: int

    def tokens_for(self, example: Example) -> int:
        """The most tokens an answer to this example may have."""
        return self.by_source.get(example.source, self.longest)

    def is_truncated(self, example: Example) -> bool:
        """True when the reference itself would not fit."""
        size = len(example.reference.encode("utf-8"))
        return size / self.bytes_per_token > self.tokens_for(example)


def has_answer(example: Example) -> bool:
    """True for an example that asks something and has an answer to compare with."""
    return example.kind != "text" and bool(example.prompt) and bool(example.reference.strip())


def by_hash(examples: Sequence[Example]) -> list[Example]:
    """A fixed shuffle that depends on the content alone, not on order or names."""
    return sorted(examples, key=lambda e: hashlib.sha256(e.digest.encode("ascii")).digest())


def choose(dataset: Dataset, config: QaVerifyConfig) -> tuple[list[Example], Coverage]:
    """The test items to ask, and the count of those left out by reason."""
    asked = [example for example in dataset.test if example.kind != "text"]
    answered = [example for example in asked if has_answer(example)]
    train = [example for example in dataset.train if example.kind != "text"]
    is_close = close_to_training(answered, train, threshold=config.closeness)
    scorable = [e for e, close in zip(answered, is_close, strict=True) if not close]
    chosen = by_hash(scorable)[: config.max_items]
    coverage = Coverage(
        test_items=len(dataset.test),
        text_kind=len(dataset.test) - len(asked),
        blank=len(asked) - len(answered),
        close_to_training=sum(is_close),
        scorable=len(scorable),
        asked=len(chosen),
    )
    return chosen, coverage


def answer_lengths(
    base: AnsweringModel, chosen: Sequence[Example], config: QaVerifyConfig
) -> AnswerLengths:
    """Tokens an answer may have: a tenth more than its source's longest reference, and the cap.

    Bytes per token are measured on the longest references, since the tokenizer isn't seen here.
    """
    longest = sorted(chosen, key=lambda e: (-len(e.reference.encode("utf-8")), e.digest))
    probes = longest[:_CALIBRATION_ITEMS]
    counted = base.completion_logprobs_many([(e.prompt, e.reference) for e in probes])
    if len(counted) != len(probes):
        raise EvaluationError(f"the base gave {len(counted)} likelihoods for {len(probes)} answers")
    ratios = [
        len(e.reference.encode("utf-8")) / max(1, len(logprobs))
        for e, logprobs in zip(probes, counted, strict=True)
    ]
    bytes_per_token = max(0.25, min(ratios, default=1.0))
    by_source: dict[str, int] = defaultdict(int)
    for example in chosen:
        tokens = 1.1 * len(example.reference.encode("utf-8")) / bytes_per_token + 2
        rounded = math.ceil(tokens / _LENGTH_STEP) * _LENGTH_STEP
        capped = min(config.max_answer_tokens, rounded)
        by_source[example.source] = max(by_source[example.source], capped)
    return AnswerLengths(
        dict(by_source), bytes_per_token, max(by_source.values(), default=_LENGTH_STEP)
    )
