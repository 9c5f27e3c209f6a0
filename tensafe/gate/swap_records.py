"""What a swap is asked for, what was found, and where it stands: the records that are kept.

A `SwapRecord` is one file that is replaced as a whole at every step, so that a crash leaves the
step before or the step after. It holds digests, figures and reasons; the reports that they come
from lie beside it, named by their digests.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tensafe.gate.load_records import LoadPolicy
from tensafe.screen.config import ScreenConfig

SwapKind = Literal["linear", "gated", "composed"]
SwapAction = Literal["create", "swap", "rollback"]
SwapState = Literal[
    "requested", "awaiting_approval", "approved", "applied", "rejected", "expired", "superseded",
]  # fmt: skip
ApprovalMode = Literal["meta_agent", "human_in_loop"]
DecisionMode = Literal[
    "load_gate", "red_team", "meta_agent", "human_in_loop", "operator", "live_quality", "engine",
]  # fmt: skip
Otherwise = Literal["first", "base"]
FINAL: frozenset[SwapState] = frozenset({"applied", "rejected", "expired", "superseded"})
MOST_MEMBERS = 8
RECORD_VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SwapPolicy(_Record):
    """What a change of this slot has to show; the defaults are those of a release."""

    approval: ApprovalMode = Field(default="meta_agent", description="who says yes")
    approvers: tuple[str, ...] = Field(
        default=(), description="fingerprints of the humans who may approve"
    )
    min_improvement: float = Field(
        default=0.02, ge=0, le=1, description="rise of the primary score that justifies a swap"
    )
    max_p_value: float = Field(
        default=0.05, gt=0, lt=1, description="the paired test's p has to be below it"
    )
    min_items: int = Field(default=20, ge=5, description="held-out items below which nothing is")
    max_safety_regressions: int = Field(
        default=0, ge=0, description="safety-critical prompts answered safely before, not now"
    )
    answer_tokens: int = Field(default=48, ge=4, le=512, description="longest held-out answer")
    approval_hours: float = Field(
        default=24.0, gt=0, description="time after which a human's yes comes too late"
    )
    evidence_hours: float = Field(
        default=24.0, ge=0, description="age up to which a red team of the same pair is used again"
    )
    automatic_rollback: bool = Field(
        default=True, description="go back when live quality has certainly fallen"
    )
    live_tolerance: float = Field(
        default=0.02, ge=0, lt=1, description="fall of live quality that is not acted on"
    )
    live_alpha: float = Field(
        default=0.01, gt=0, lt=1, description="chance that an adapter without a fall is taken back"
    )
    live_baseline_items: int = Field(
        default=30, ge=10, description="scored answers that make a baseline"
    )
    load: LoadPolicy = LoadPolicy()
    screen: ScreenConfig = ScreenConfig()


class SlotSettings(_Record):
    """One slot as its operator set it up; digests name the stored evaluation files."""

    version: int = RECORD_VERSION
    name: str
    policy: SwapPolicy
    held_out_digest: str
    held_out_items: int
    safety_digest: str
    created_by: str
    created_at: str


class Member(_Record):
    """One adapter of a swap: its package, and the digests of its weights and configuration."""

    package: str
    package_digest: str
    adapter_digest: str
    config_digest: str
    skill_name: str = ""


class Decision(_Record):
    """Who decided what, by which rules or signature; `reasons` name what spoke against it."""

    verdict: Literal["approved", "rejected"]
    decided_by: str
    mode: DecisionMode
    rules: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    at: str
    approval_digest: str = ""


class SwapRecord(_Record):
    """One change of a slot from its request to its end.

    `from_digest` is where the slot pointed when it was asked for; `to_digest` is "" until the
    packages were read. `pause_ms` is how long the engine computed nothing else for the change.
    """

    version: int = RECORD_VERSION
    id: str
    slot: str
    action: SwapAction
    kind: SwapKind
    state: SwapState
    requested_by: str
    requested_at: str
    reason: str
    packages: tuple[str, ...]
    otherwise: Otherwise = "first"
    members: tuple[Member, ...] = ()
    from_digest: str
    to_digest: str = ""
    to_base: bool = False
    gate_reports: tuple[str, ...] = ()
    gate_accepted: bool | None = None
    red_team_digest: str = ""
    red_team_passed: bool | None = None
    red_team_reused_from: str = ""
    figures: dict[str, float] = Field(default_factory=dict)
    decision: Decision | None = None
    expires_at: str = ""
    applied_at: str = ""
    pause_ms: float | None = None
    incident: str = ""

    @field_validator("figures")
    @classmethod
    def _finite(cls, value: dict[str, float]) -> dict[str, float]:
        if any(number != number or abs(number) == float("inf") for number in value.values()):
            raise ValueError("figures are finite")
        return value

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in FINAL

    @property
    def is_applied(self) -> bool:
        """Whether the slot was moved."""
        return self.state == "applied"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What spoke against it, if anything did."""
        return () if self.decision is None else self.decision.reasons
