"""How well stated confidence agrees with what came true. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Observations with confidence in [low, high): how many, mean confidence, share right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class CalibrationReport:
    """`brier` and `ece` in [0, 1], smaller is better; both None without observations."""

    count: int
    brier: float | None
    ece: float | None
    accuracy: float | None
    confidence: float | None
    bins: tuple[ReliabilityBin, ...]


def calibration_report(
    observations: Sequence[tuple[float, bool]], *, bins: int = BINS
) -> CalibrationReport:
    """Brier score, expected calibration error and reliability bins.

    Brier is the mean of (confidence - outcome)^2 (Brier 1950); ECE the mean over equal-width bins,
    weighted by their counts, of |accuracy - mean confidence| (Naeini 2015). A confidence of 1 falls
    into the last bin. Raises ValueError for a confidence outside [0, 1].
    """
    count = len(observations)
    if count == 0:
        return CalibrationReport(0, None, None, None, None, ())
    grouped: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, is_right in observations:
        if not 0.0 <= confidence <= 1.0:
            raise ValueError(f"a confidence lies in [0, 1], not {confidence}")
        grouped[min(bins - 1, int(confidence * bins))].append((confidence, is_right))
    made = tuple(_bin(n, bins, group) for n, group in enumerate(grouped) if group)
    return CalibrationReport(
        count=count,
        brier=sum((c - r) ** 2 for c, r in observations) / count,
        ece=sum(b.count * abs(b.accuracy - b.confidence) for b in made) / count,
        accuracy=sum(r for _, r in observations) / count,
        confidence=sum(c for c, _ in observations) / count,
        bins=made,
    )


def _bin(number: int, bins: int, group: Sequence[tuple[float, bool]]) -> ReliabilityBin:
    return ReliabilityBin(
        number / bins,
        (number + 1) / bins,
        len(group),
        sum(c for c, _ in group) / len(group),
        sum(r for _, r in group) / len(group),
    )
