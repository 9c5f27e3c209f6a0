"""Whether a candidate replaces the version in use. Pure."""

from __future__ import annotations

from typing import Any

from aragora.loop.settings import LoopSettings
from aragora.loop.state import Version


def decide(
    candidate: Version,
    current: Version,
    judged: dict[str, Any],
    settings: LoopSettings,
    *,
    most_robust: float | None,
) -> str:
    """Why a candidate is not swapped in; "" when nothing speaks against it.

    It must pass its gates, answer more of the deciding held-out tasks right, and hold against as
    many attacks as the most robust version used so far (`most_robust`), less the margin: measured
    against that one, small falls can't add up. A robustness that should be known and isn't is a no.
    """
    reasons: dict[str, str] = judged["reasons"]
    if reasons or not judged["package"]:
        told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        return f"a gate said no: {told or 'no package was written'}"
    if candidate.check.accuracy <= current.check.accuracy:
        return (
            f"no better: {candidate.check.accuracy:.1%} after {current.check.accuracy:.1%} on the "
            "tasks that decide"
        )
    if settings.gauntlet:
        if candidate.robustness is None or most_robust is None:
            return "its robustness is not known"
        if candidate.robustness < most_robust - settings.robustness_margin:
            return (
                f"less robust: {candidate.robustness:.1%} after {most_robust:.1%} of the attacks "
                "held"
            )
    return ""
