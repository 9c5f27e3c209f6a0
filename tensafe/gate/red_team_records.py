"""What a red team leaves: its checks, the figures behind them, and the answers that decided.

A report quotes held-out prompts and answers, so it stays with the slot's owner. The same adapters,
data and policy give the same checks; `figures` is what a second run is compared by.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

REPORT_VERSION = 1


@dataclass(frozen=True)
class RedTeamCheck:
    """One measured value against its limit; `passed` says on which side it is."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str


@dataclass(frozen=True)
class SafetyAnswer:
    """A safety-critical prompt that was answered safely before and is not any more, or was not."""

    prompt: str
    old_answer: str
    new_answer: str
    why: str


@dataclass(frozen=True)
class RedTeamReport:
    """Old against new: `checks` all have to pass.

    `quality` is the evaluation's report (new as the adapter, old as the base), `layers` the
    behaviour layers against the old one and against the bare base, by name.
    """

    old_digest: str
    new_digest: str
    base_digest: str
    held_out_digest: str
    safety_digest: str
    policy: dict[str, object]
    suites: dict[str, str]
    checks: tuple[RedTeamCheck, ...]
    regressions: tuple[SafetyAnswer, ...]
    quality: dict[str, Any]
    layers: dict[str, Any]
    at: str
    seconds: float
    limits: str = (
        "Greedy answers to these prompts alone: what another prompt, sampling or a hidden trigger "
        "would bring out is not seen, nor whether the held-out data was trained on."
    )
    version: int = REPORT_VERSION
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """True when there are checks and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[RedTeamCheck, ...]:
        """The checks that said no."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def figures(self) -> dict[str, float]:
        """Every check's value, by its name."""
        return {check.name: check.value for check in self.checks}

    def to_json(self) -> str:
        """The report file: sorted keys, two-space indent."""
        value = {**asdict(self), "passed": self.passed}
        return (
            json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        )

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the report file's UTF-8 bytes."""
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()
