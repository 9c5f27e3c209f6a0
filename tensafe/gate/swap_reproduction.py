"""A decided swap examined again, from what was kept: is it the same verdict?"""

from __future__ import annotations

from typing import Any

from tensafe.gate.swap_judge import RED_TEAM_FILE, SwapJudge
from tensafe.gate.swap_records import SlotSettings, SwapPolicy, SwapRecord
from tensafe.gate.swap_store import SwapStore

_FAR_OFF = 1e9


def reproduce(
    record: SwapRecord, settings: SlotSettings, judge: SwapJudge, store: SwapStore
) -> dict[str, Any]:
    """Both verdicts of each examination, all figures, and the largest difference between them.

    The red team is held by the policy and data of then, and asks everything anew.

    Raises:
        DataError: the report or the data of then are gone.
    """
    admitted = judge.admit(record.model_copy(update={"to_digest": ""}), settings)
    is_let_in = not admitted.faults
    told: dict[str, Any] = {
        "swap": record.id,
        "gate": {"then": record.gate_accepted, "now": is_let_in},
        "same_verdict": record.gate_accepted == is_let_in,
    }
    if not record.red_team_digest:
        return told
    old = store.read_report(record.id, RED_TEAM_FILE)
    then = settings.model_copy(
        update={
            "policy": SwapPolicy.model_validate(old["policy"]),
            "held_out_digest": old["held_out_digest"],
            "safety_digest": old["safety_digest"],
        }
    )
    report = judge.examine(record, then, is_afresh=True)
    before: dict[str, float] = {check["name"]: check["value"] for check in old["checks"]}
    gaps = [abs(before.get(name, _FAR_OFF) - value) for name, value in report.figures.items()]
    is_same = old["passed"] == report.passed and before.keys() == report.figures.keys()
    return {
        **told,
        "red_team": {"then": old["passed"], "now": report.passed},
        "figures": {
            "then": before, "now": report.figures, "largest_gap": max(gaps, default=0.0),
        },
        "same_verdict": told["same_verdict"] and is_same,
    }  # fmt: skip
