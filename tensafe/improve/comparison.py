"""The old version against the new one, on what they must not forget and on what is new.

The same items, prompts and lengths go to both, and the scores of each item are compared in pairs.
The verdict is a gate of its own, beside the three that every package needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tensafe.data.records import CurationReport, Dataset, Example
from tensafe.evaluate import AnsweringModel, EvalReport, QaVerifyConfig, qa_verify
from tensafe.improve.config import ImproveConfig

OLD, NEW = "old", "new"


@dataclass(frozen=True)
class SetResult:
    """Mean scores in [0, 1] of both versions on one test set, with the paired test.

    `difference` is new minus old. Without an item all figures are None.
    """

    items: int
    old_score: float | None
    new_score: float | None
    difference: float | None
    p_value: float | None
    better: int
    worse: int
    method: str

    @property
    def is_measured(self) -> bool:
        """Whether there was anything to compare."""
        return self.difference is not None


@dataclass(frozen=True)
class Comparison:
    """Both test sets with the verdict; `reasons` say what spoke against the new version."""

    old: SetResult
    new: SetResult
    passed: bool
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """All figures; no text of the data."""
        return {
            "old_test": asdict(self.old),
            "new_test": asdict(self.new),
            "passed": self.passed,
            "reasons": list(self.reasons),
        }


def compare_versions(
    new: AnsweringModel,
    old: AnsweringModel,
    *,
    old_test: Sequence[Example],
    new_test: Sequence[Example],
    learned: Sequence[Example],
    config: ImproveConfig,
) -> Comparison:
    """Ask both versions both test sets; `learned` is all that either has learned from.

    Raises:
        EvaluationError: a model gave another number of answers than it was asked for.
    """
    settings = QaVerifyConfig(max_items=config.max_test_items, train_probe_items=0)

    def measure(test: Sequence[Example]) -> SetResult:
        dataset = Dataset(learned, test, CurationReport(files_read=0, bytes_read=0))
        return result_of(qa_verify(new, old, dataset, settings))

    measured = {OLD: measure(old_test), NEW: measure(new_test)}
    reasons = reasons_against(measured[OLD], measured[NEW], config)
    return Comparison(measured[OLD], measured[NEW], not reasons, reasons)


def result_of(report: EvalReport) -> SetResult:
    """The figures of an evaluation whose base was the old version."""
    paired = report.paired
    if paired is None:
        return SetResult(0, None, None, None, None, 0, 0, "no items")
    return SetResult(
        items=len(report.items),
        old_score=report.base_score,
        new_score=report.score,
        difference=paired.difference,
        p_value=paired.p_value,
        better=paired.better,
        worse=paired.worse,
        method=paired.method,
    )


def reasons_against(old: SetResult, new: SetResult, config: ImproveConfig) -> tuple[str, ...]:
    """What speaks against the new version; nothing measured speaks against it as well.

    So does a figure that is not finite, hence the negated comparisons.
    """
    reasons: list[str] = []
    if old.difference is None:
        reasons.append("there is no old test item, so what was forgotten can't be measured")
    elif not old.difference >= -config.max_forgetting:
        reasons.append(
            f"forgetting: {-old.difference:.3f} lost on {old.items} old test items, allowed is "
            f"{config.max_forgetting:.3f}; replay more (--replay-share), or train more gently"
        )
    if new.difference is None or new.p_value is None:
        reasons.append("there is no new test item, so what was gained can't be measured")
    elif not new.difference >= config.min_gain:
        reasons.append(
            f"gain: {new.difference:+.3f} on {new.items} new test items, needed is "
            f"{config.min_gain:.3f}"
        )
    elif not new.p_value < config.max_p_value:
        reasons.append(
            f"gain: {new.difference:+.3f} on {new.items} new test items may be chance "
            f"(p = {new.p_value:.2g}); more feedback makes it firmer"
        )
    return tuple(reasons)
