"""The dp_budget gate: what the engine's ledger says against what the run promised."""

from __future__ import annotations

import math
from dataclasses import asdict

from tensafe.gate.lifetime import Spent
from tensafe.gate.records import GateRecord
from tinker_engine.runtime.records import PrivacyRecord

# Below this nothing is learned from any data set; advice to train so is none.
_USEFUL = 0.1


def dp_budget(
    record: PrivacyRecord | None,
    *,
    promised_epsilon: float,
    lifetime_epsilon: float,
    spent: Spent,
    examples: int,
    record_set: str,
    private: bool,
) -> GateRecord:
    """Judge the spent privacy; anything missing, non-finite or not matching the run fails.

    Args:
        record: the engine's statement, None when it has no ledger for the run.
        spent: what released packages over the same records have used before.
        record_set: digest of the training side that the ledger must name.
    """
    if not private:
        return GateRecord(
            name="dp_budget",
            verdict="waived",
            score=0.0,
            threshold=promised_epsilon,
            reason="trained without differential privacy at the user's explicit request",
        )
    problem = _problem(record, promised_epsilon, examples, record_set)
    if record is None or problem:
        return _failed(problem or "the engine has no privacy ledger for this run", record)
    if not math.isfinite(spent.epsilon):
        return _failed(
            f"{len(spent.packages)} released package(s) over the same records were trained before, "
            "at least one of them without privacy: nothing is left of their lifetime budget",
            record,
            advice=("train on records that no released package has used",),
        )
    deltas, most = spent.delta + record.delta, 1.0 / examples
    if not deltas <= most:
        left = most - spent.delta
        smaller = (f"or train with --delta {_rounded_down(left)} or less",) if left > 0 else ()
        return _failed(
            f"delta {record.delta:.2e} with the {spent.delta:.2e} that {len(spent.packages)} "
            f"released package(s) over the same records spent before is {deltas:.2e}, above 1/n "
            f"for n = {examples}: deltas add up, and together they are bounded as one run's is",
            record,
            advice=("train on records that no released package has used", *smaller),
        )
    total = spent.epsilon + record.epsilon
    evidence: dict[str, object] = {**asdict(record), "earlier_releases": list(spent.packages)}
    if total > lifetime_epsilon:
        left = math.floor(100 * (lifetime_epsilon - spent.epsilon)) / 100
        smaller = (f"or train with --epsilon {left:g} or less",) if left >= _USEFUL else ()
        return GateRecord(
            name="dp_budget",
            verdict="failed",
            score=total,
            threshold=lifetime_epsilon,
            reason=(
                f"this run spent epsilon {record.epsilon:.3f}; {len(spent.packages)} released "
                f"package(s) over the same records spent {spent.epsilon:.3f} before: together "
                f"{total:.3f} of a lifetime budget of {lifetime_epsilon:g}"
            ),
            advice=(
                "train on records that no released package has used",
                *smaller,
                "or raise --lifetime-epsilon, if the people in the data were promised no less",
            ),
            evidence=evidence,
        )
    return GateRecord(
        name="dp_budget",
        verdict="passed",
        score=record.epsilon,
        threshold=promised_epsilon,
        reason=(
            f"epsilon {record.epsilon:.3f} at delta {record.delta:.2e} after {record.steps} "
            f"steps, within {promised_epsilon:g}"
        ),
        evidence=evidence,
    )


def _rounded_down(value: float) -> str:
    """Two digits, never more than the value."""
    size = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.floor(value / size) * size:.1e}"


def waived_for_import() -> GateRecord:
    """The record of an adapter that was trained elsewhere: nothing vouches for any privacy."""
    return GateRecord(
        name="dp_budget",
        verdict="waived",
        score=0.0,
        threshold=0.0,
        reason="imported: no ledger says how it was trained, so no privacy is claimed",
    )


def _problem(
    record: PrivacyRecord | None, promised: float, examples: int, record_set: str
) -> str | None:
    """What is wrong with the engine's statement, or None."""
    if record is None:
        return "the engine has no privacy ledger for this run"
    numbers = (record.epsilon, record.delta, record.noise_multiplier, record.clip_norm)
    if not all(math.isfinite(n) and n > 0 for n in numbers):
        return f"the ledger holds a value that is not finite and positive: {numbers}"
    if record.steps < 1:
        return "the ledger counts no private step"
    if record.epsilon > promised:
        return f"epsilon {record.epsilon:.3f} is above the promised {promised:g}"
    if record.delta > 1.0 / examples:
        return f"delta {record.delta:.2e} is above 1/n for n = {examples}"
    if record.record_set != record_set:
        return "the ledger names another set of training records than this run's"
    return None


_ADVICE = (
    "train on the embedded engine or another server that enforces privacy",
    "or give --no-dp, which is written into the package",
)


def _failed(
    reason: str, record: PrivacyRecord | None, *, advice: tuple[str, ...] = _ADVICE
) -> GateRecord:
    return GateRecord(
        name="dp_budget",
        verdict="failed",
        score=record.epsilon if record and math.isfinite(record.epsilon) else 0.0,
        threshold=record.max_epsilon if record else 0.0,
        reason=reason,
        advice=advice,
        evidence=asdict(record) if record else {},
    )
