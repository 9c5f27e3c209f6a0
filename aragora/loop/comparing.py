"""Two versions on the same held-out tasks: difference, interval, paired test. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from aragora.loop.state import Measured
from tensafe.evaluate.statistics import compare_paired


@dataclass(frozen=True)
class Gain:
    """`difference` of single-answer accuracy, its 95% interval, two-sided `p_value`.

    The test flips signs of tasks' differences; answers to one task are averaged before.
    """

    difference: float
    low: float
    high: float
    p_value: float
    method: str
    better: int
    worse: int
    tasks: int

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def gain(before: Measured, after: Measured) -> Gain:
    """What `after` answers better than `before`, task by task."""
    return gain_of(before.single, after.single)


def gain_of(before: tuple[float, ...], after: tuple[float, ...]) -> Gain:
    """The same for any two scores in [0, 1] of the same tasks.

    Raises ValueError for lists of different lengths, or empty ones.
    """
    test = compare_paired(after, before)
    changes = [b - a for a, b in zip(before, after, strict=True)]
    count = len(changes)
    half = 1.0
    if count > 1:
        from scipy.stats import t

        variance = math.fsum((c - test.difference) ** 2 for c in changes) / (count - 1)
        half = float(t.ppf(0.975, count - 1)) * math.sqrt(variance / count)
    return Gain(
        test.difference,
        max(-1.0, test.difference - half),
        min(1.0, test.difference + half),
        test.p_value,
        test.method,
        test.better,
        test.worse,
        count,
    )
