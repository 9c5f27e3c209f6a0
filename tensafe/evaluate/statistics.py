"""Intervals and paired tests for scores in [0, 1]. Pure functions; numpy is loaded when needed."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

PERMUTATIONS = 9999
_EXACT_UP_TO = 14


@dataclass(frozen=True)
class Interval:
    """A confidence interval; `level` is its coverage, such as 0.95."""

    low: float
    high: float
    level: float


@dataclass(frozen=True)
class PairedTest:
    """Two-sided test that two models score the same on the same items.

    `difference` is mean(first) - mean(second); `better` and `worse` count the items on which the
    first scored higher or lower.
    """

    method: Literal["mcnemar_exact", "sign_flip_exact", "sign_flip_sampled", "no_difference"]
    difference: float
    p_value: float
    better: int
    worse: int


def wilson_interval(mean: float, count: int, *, level: float = 0.95) -> Interval:
    """Wilson score interval (Wilson 1927) with `mean` of `count` items treated as a proportion.

    For scores between 0 and 1 that are not all 0 or 1 this is conservative: their variance is at
    most mean * (1 - mean), that of a proportion.

    Raises:
        ValueError: mean outside [0, 1], or no items.
    """
    if count < 1 or not 0.0 <= mean <= 1.0:
        raise ValueError(f"an interval needs items and a mean in [0, 1], not {count} and {mean}")
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    square = z * z / count
    centre = (mean + square / 2.0) / (1.0 + square)
    half = z * math.sqrt(mean * (1.0 - mean) / count + square / (4.0 * count)) / (1.0 + square)
    # At 0 and 1 the interval ends at the mean itself, which rounding may miss by an ulp.
    return Interval(max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)), level)


def mcnemar_exact(better: int, worse: int) -> float:
    """Two-sided exact McNemar p-value: discordant pairs are fair coin flips under the null.

    Twice the smaller binomial tail, at most 1 (Fay 2010, "Two-sided exact tests"). A tail too small
    for a double becomes the smallest normal one, 2.2e-308: an upper bound, never 0.
    """
    flips = better + worse
    if flips == 0:
        return 1.0
    log_total = flips * math.log(2.0)
    tail = math.fsum(
        math.exp(_log_choose(flips, k) - log_total) for k in range(min(better, worse) + 1)
    )
    return min(1.0, max(2.0 * tail, sys.float_info.min))


def compare_paired(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Test whether two models' scores on the same items differ.

    Exact McNemar when all scores are 0 or 1, else a sign-flip permutation test of the mean
    difference: exact up to 14 differing items, beyond that 9,999 flips from a fixed seed with
    p = (1 + as extreme) / (1 + flips) (Phipson and Smyth 2010).

    Raises:
        ValueError: the lengths differ or there are no items.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"paired scores need equal lengths, not {len(first)} and {len(second)}")
    changes = [a - b for a, b in zip(first, second, strict=True) if a != b]
    difference = math.fsum(changes) / len(first)
    better = sum(change > 0 for change in changes)
    worse = len(changes) - better
    if not changes:
        return PairedTest("no_difference", 0.0, 1.0, 0, 0)
    if all(score in (0.0, 1.0) for score in (*first, *second)):
        p_value = mcnemar_exact(better, worse)
        return PairedTest("mcnemar_exact", difference, p_value, better, worse)
    if len(changes) <= _EXACT_UP_TO:
        p_value = _sign_flip_exact(changes)
        return PairedTest("sign_flip_exact", difference, p_value, better, worse)
    p_value = _sign_flip_sampled(changes)
    return PairedTest("sign_flip_sampled", difference, p_value, better, worse)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _tie(changes: Sequence[float]) -> float:
    """How far apart two sums of these may lie by rounding alone; near 0 too they are equal then."""
    return 1e-12 * math.fsum(map(abs, changes))


def _sign_flip_exact(changes: Sequence[float]) -> float:
    observed = abs(math.fsum(changes)) - _tie(changes)
    sums = [0.0]
    for change in changes:
        sums = [total + sign * change for total in sums for sign in (1.0, -1.0)]
    return sum(abs(total) >= observed for total in sums) / len(sums)


def _sign_flip_sampled(changes: Sequence[float]) -> float:
    import numpy as np

    values = np.asarray(changes, dtype=np.float64)  # (D,)
    generator = np.random.default_rng(20261)
    observed = abs(float(values.sum())) - _tie(changes)
    extreme = 0
    # In blocks, so that memory stays bounded however many items there are.
    done = 0
    while done < PERMUTATIONS:
        block = min(500, PERMUTATIONS - done)
        signs = generator.integers(0, 2, size=(block, values.size), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ values) >= observed).sum())
        done += block
    return (1 + extreme) / (1 + PERMUTATIONS)
