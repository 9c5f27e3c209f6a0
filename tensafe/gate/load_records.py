"""What the load gate is told, and what it leaves: a policy, the running base, steps, a report.

A report is for people and programs that have to know later why an adapter went live or did not.
It holds digests, figures and reasons, and nothing that a package could smuggle into a terminal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StepName = Literal[
    "payload_hash",
    "signatures",
    "creator",
    "lora_config",
    "base",
    "rvu_v2",
    "decision",
]
STEPS: tuple[StepName, ...] = (
    "payload_hash", "signatures", "creator", "lora_config", "base", "rvu_v2", "decision",
)  # fmt: skip
REPORT_VERSION = 1


class LoadPolicy(BaseModel):
    """What this installation lets in; the defaults are the strict ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rank: int = Field(default=256, ge=1, le=1024)
    max_scale: float = Field(default=64.0, gt=0, description="largest alpha / rank")
    max_payload_bytes: int = Field(default=2 << 30, ge=1)
    experts: Literal["dense", "any"] = Field(
        default="dense", description="`any` lets adapters for mixture-of-experts bases in"
    )
    needs_training_data: bool = Field(
        default=False, description="refuse adapters that were screened without their data"
    )


@dataclass(frozen=True)
class RunningBase:
    """The base model that would carry the adapter, as the engine states it.

    `modules` maps each linear module's full name to its (in, out) features.
    """

    name: str
    architecture: str
    digest: str
    tokenizer_digest: str
    chat_template_digest: str
    modules: dict[str, tuple[int, int]]
    num_experts: int = 0


@dataclass(frozen=True)
class GateStep:
    """One step's verdict. `faults` are all reasons against it; `seconds` is wall time."""

    name: StepName
    passed: bool
    reason: str
    faults: tuple[str, ...] = ()
    evidence: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class LoadReport:
    """The seven steps of one package on one base; `accepted` is the seventh's verdict."""

    package: str
    package_digest: str
    adapter_digest: str
    base: str
    base_digest: str
    policy: dict[str, object]
    at: str
    steps: tuple[GateStep, ...]
    version: int = REPORT_VERSION

    @property
    def accepted(self) -> bool:
        """True when all seven steps ran, in order, and passed."""
        return tuple(step.name for step in self.steps) == STEPS and all(
            step.passed for step in self.steps
        )

    @property
    def failed(self) -> tuple[GateStep, ...]:
        """The steps before the decision that said no."""
        return tuple(step for step in self.steps[:-1] if not step.passed)

    def to_json(self) -> str:
        """The report file: sorted keys, two-space indent, ASCII alone."""
        value = {**asdict(self), "accepted": self.accepted}
        return json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n"

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the report file."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()
