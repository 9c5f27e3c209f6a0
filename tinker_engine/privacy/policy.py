"""Checking a privacy policy and completing it with its noise multiplier. Fails closed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinker_engine.errors import PrivacyPolicyError
from tinker_engine.privacy.accountant import calibrate_noise
from tinker_engine.runtime.records import PrivacyPolicy


@dataclass(frozen=True)
class ResolvedPolicy:
    """A checked policy with its noise multiplier (std of the noise divided by `clip_norm`)."""

    clip_norm: float
    sampling_rate: float
    expected_batch_size: float
    delta: float
    noise_multiplier: float
    target_epsilon: float | None
    planned_steps: int | None
    max_epsilon: float
    record_set: str | None


def resolve_policy(policy: PrivacyPolicy) -> ResolvedPolicy:
    """Check every field; calibrate the noise when `target_epsilon` is given.

    Raises PrivacyPolicyError for a value that is missing, not finite or out of range.
    """
    _positive("clip_norm", policy.clip_norm)
    _positive("expected_batch_size", policy.expected_batch_size)
    _positive("max_epsilon", policy.max_epsilon)
    _within("sampling_rate", policy.sampling_rate, 0.0, 1.0, includes_high=True)
    _within("delta", policy.delta, 0.0, 1.0, includes_high=False)
    if (policy.noise_multiplier is None) == (policy.target_epsilon is None):
        raise PrivacyPolicyError(
            "give exactly one of noise_multiplier and target_epsilon (with planned steps)"
        )
    if policy.noise_multiplier is not None:
        _positive("noise_multiplier", policy.noise_multiplier)
        noise_multiplier = float(policy.noise_multiplier)
    else:
        noise_multiplier = _calibrated(policy)
    return ResolvedPolicy(
        clip_norm=float(policy.clip_norm),
        sampling_rate=float(policy.sampling_rate),
        expected_batch_size=float(policy.expected_batch_size),
        delta=float(policy.delta),
        noise_multiplier=noise_multiplier,
        target_epsilon=policy.target_epsilon,
        planned_steps=policy.planned_steps,
        max_epsilon=float(policy.max_epsilon),
        record_set=policy.record_set,
    )


def _calibrated(policy: PrivacyPolicy) -> float:
    target, steps = policy.target_epsilon, policy.planned_steps
    if target is None or steps is None:
        raise PrivacyPolicyError("target_epsilon needs the number of planned steps (dp_steps)")
    _positive("target_epsilon", target)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PrivacyPolicyError(f"planned steps must be a whole number from 1 on, not {steps!r}")
    if target > policy.max_epsilon:
        raise PrivacyPolicyError(
            f"target_epsilon {target} is above the budget max_epsilon {policy.max_epsilon}; "
            "raise dp_max_epsilon or lower dp_target_epsilon"
        )
    return calibrate_noise(target, policy.delta, policy.sampling_rate, steps)


def _positive(name: str, value: float) -> None:
    if not _is_number(value) or not math.isfinite(value) or value <= 0:
        raise PrivacyPolicyError(f"{name} must be a finite number above 0, not {value!r}")


def _within(name: str, value: float, low: float, high: float, *, includes_high: bool) -> None:
    is_inside = (
        _is_number(value) and low < value and (value <= high if includes_high else value < high)
    )
    if not is_inside:
        edge = "at most" if includes_high else "below"
        raise PrivacyPolicyError(f"{name} must be above {low:g} and {edge} {high:g}, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
