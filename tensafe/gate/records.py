"""Verdicts of the three quality gates, without which no package is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

GateName = Literal["qa_verify", "rvu_v2_pass", "dp_budget"]
Verdict = Literal["passed", "failed", "waived"]


@dataclass(frozen=True)
class GateRecord:
    """One gate's verdict with its evidence.

    `score` and `threshold` are in the gate's own unit (qa_verify: 0..1; dp_budget: epsilon;
    rvu_v2_pass: number of layers failed, threshold 0). `waived` exists for dp_budget alone, when
    a run was made without privacy. `report_digest` is the hex SHA-256 of the full report file.
    """

    name: GateName
    verdict: Verdict
    score: float
    threshold: float
    reason: str
    advice: tuple[str, ...] = ()
    evidence: dict[str, object] = field(default_factory=dict)
    report_digest: str = ""


@dataclass(frozen=True)
class ThreeGates:
    """The three records that the package writer demands."""

    qa_verify: GateRecord
    rvu_v2_pass: GateRecord
    dp_budget: GateRecord

    def all_pass(self) -> bool:
        """True when nothing failed; a waiver counts for dp_budget only."""
        return (
            self.qa_verify.verdict == "passed"
            and self.rvu_v2_pass.verdict == "passed"
            and self.dp_budget.verdict in ("passed", "waived")
        )
