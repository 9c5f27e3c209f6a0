"""What `qa_verify` found: the record that the gate, the report page and the package read.

The report quotes test prompts, references and answers, so it belongs to the owner of the data;
a package carries its digest, score and interval only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from tensafe.evaluate.advice import advise
from tensafe.evaluate.breakdown import Confusion, GroupScore
from tensafe.evaluate.facts import RunFacts
from tensafe.evaluate.items import Coverage, ItemResult
from tensafe.evaluate.statistics import Interval, PairedTest
from tensafe.gate.records import GateRecord


@dataclass(frozen=True)
class EvalReport:
    """Scores are means over `items` in [0, 1]; intervals treat them as proportions (Wilson).

    Without a scorable item `items` is empty, both intervals and `paired` are None, and the gate
    fails. `truncated` items have references longer than an answer may be.
    """

    config: dict[str, object]
    train_digest: str
    test_digest: str
    coverage: Coverage
    items: tuple[ItemResult, ...]
    score: float
    base_score: float
    interval: Interval | None
    base_interval: Interval | None
    paired: PairedTest | None
    exact_share: float
    by_source: tuple[GroupScore, ...]
    by_rule: tuple[GroupScore, ...]
    by_label: tuple[GroupScore, ...]
    confusions: tuple[Confusion, ...]
    truncated: int
    train_score: float | None
    train_items: int
    facts: RunFacts
    extra_scores: dict[str, dict[str, float]] = field(default_factory=dict)
    contains_data: bool = True

    def to_json(self) -> str:
        """The report file: sorted keys, two-space indent, the same bytes for the same findings."""
        return (
            json.dumps(asdict(self), sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
            + "\n"
        )

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the report file's UTF-8 bytes."""
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()

    @property
    def threshold(self) -> float:
        """The mean score that passes."""
        return float(str(self.config["threshold"]))

    def improved(self, count: int) -> tuple[ItemResult, ...]:
        """Items that gained most over the base, largest gain first."""
        gains = sorted(self.items, key=lambda item: item.base_score - item.score)
        return tuple(item for item in gains if item.score > item.base_score)[:count]

    def worsened(self, count: int) -> tuple[ItemResult, ...]:
        """Items that lost most against the base, largest loss first."""
        losses = sorted(self.items, key=lambda item: item.score - item.base_score)
        return tuple(item for item in losses if item.score < item.base_score)[:count]

    def failed(self, count: int) -> tuple[ItemResult, ...]:
        """Items the adapter answered worst, lowest score first."""
        ranked = sorted(self.items, key=lambda item: item.score)
        return tuple(item for item in ranked if item.score < 1.0)[:count]

    def gate(self) -> GateRecord:
        """The `qa_verify` verdict; no scorable item is a failure."""
        is_passed = bool(self.items) and self.score >= self.threshold
        return GateRecord(
            name="qa_verify",
            verdict="passed" if is_passed else "failed",
            score=self.score,
            threshold=self.threshold,
            reason=self._reason(is_passed=is_passed),
            advice=() if is_passed else advise(self),
            evidence=self._evidence(),
            report_digest=self.digest,
        )

    def _reason(self, *, is_passed: bool) -> str:
        coverage = self.coverage
        if self.interval is None or self.paired is None:
            return (
                f"none of the {coverage.test_items} held-out items can be scored: "
                f"{coverage.text_kind} are plain text, {coverage.blank} have no answer, "
                f"{coverage.close_to_training} are too close to training items"
            )
        verdict = "reaches" if is_passed else f"is {self.threshold - self.score:.3f} below"
        return (
            f"score {self.score:.3f} [{self.interval.low:.3f}, {self.interval.high:.3f}] on "
            f"{len(self.items)} held-out items {verdict} {self.threshold:.2f}; the base scores "
            f"{self.base_score:.3f} (difference {self.paired.difference:+.3f}, "
            f"p = {self.paired.p_value:.2g})"
        )

    def _evidence(self) -> dict[str, object]:
        """Figures only, no text of the data: this part may stand in a package."""
        evidence: dict[str, object] = {
            "test_size": len(self.items),
            "base_score": self.base_score,
            "exact_share": self.exact_share,
            "left_out_close_to_training": self.coverage.close_to_training,
            "left_out_text": self.coverage.text_kind,
            "test_digest": self.test_digest,
        }
        if self.interval and self.base_interval and self.paired:
            evidence["interval"] = [self.interval.low, self.interval.high]
            evidence["base_interval"] = [self.base_interval.low, self.base_interval.high]
            evidence["difference"] = self.paired.difference
            evidence["p_value"] = self.paired.p_value
            evidence["test"] = self.paired.method
        return evidence
