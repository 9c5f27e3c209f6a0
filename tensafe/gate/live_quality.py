"""Has live quality fallen? A sequential test on scored answers, valid at every look.

Scores lie in [0, 1]. Under "the mean is at least m", the wealth of a gambler who bets against it,

    K_t = mean over lambda of  prod_{i <= t} (1 + lambda (m - x_i)),   0 <= lambda < 1 / (1 - m)

is a nonnegative supermartingale that starts at 1, so it ever reaches 1 / alpha with probability at
most alpha (Ville 1939; Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables
by betting", JRSS B 86, section 4). The lambdas are a fixed grid, so nothing is tuned on the data.

m is the lower end of a 95% Wilson interval around what the adapter before scored live, less a
tolerance: what is uncertain about the past is no evidence against the present.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tensafe.evaluate.statistics import wilson_interval

_BETS = 24
_MOST_OF_STAKE = 0.95


@dataclass(frozen=True)
class LiveVerdict:
    """What is known: `has_fallen` once wealth reached 1 / alpha; no `floor` without a baseline."""

    digest: str
    items: int
    mean: float
    floor: float | None
    wealth: float
    has_fallen: bool
    rolled_back_by: str = ""


@dataclass
class FallTest:
    """The test for one adapter against one floor; feed it every scored answer."""

    floor: float
    alpha: float
    items: int = 0
    total: float = 0.0
    largest_wealth: float = 1.0
    _log_wealth: list[float] = field(default_factory=lambda: [0.0] * _BETS)

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor <= 1.0 or not 0.0 < self.alpha < 1.0:
            raise ValueError(f"floor {self.floor} and alpha {self.alpha} have to lie in [0, 1]")

    def add(self, score: float) -> None:
        """Take in one score.

        Raises:
            ValueError: it does not lie in [0, 1].
        """
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"a score lies in [0, 1], not {score}")
        self.items += 1
        self.total += score
        # A lambda below 1 / (1 - floor) keeps every factor positive; above 1 it gains little and
        # lets one bad answer in a row of good ones decide.
        top = _MOST_OF_STAKE * min(2.0, 1.0 / max(1e-9, 1.0 - self.floor))
        for place in range(_BETS):
            bet = top * (place + 1) / _BETS
            self._log_wealth[place] += math.log1p(bet * (self.floor - score))
        self.largest_wealth = max(self.largest_wealth, self.wealth)

    @property
    def wealth(self) -> float:
        """The gambler's wealth now, at most 1e300."""
        most = max(self._log_wealth)
        if most > 690.0:
            return 1e300
        return math.fsum(math.exp(value) for value in self._log_wealth) / _BETS

    @property
    def has_fallen(self) -> bool:
        """Whether wealth has ever reached 1 / alpha."""
        return self.largest_wealth >= 1.0 / self.alpha


def floor_of(before: Sequence[float], *, tolerance: float, needed: int) -> float | None:
    """What the adapter has to reach, from its predecessor's live scores; None for too few."""
    if len(before) < needed:
        return None
    mean = math.fsum(before) / len(before)
    return max(0.0, wilson_interval(mean, len(before)).low - tolerance)


def judge_live(
    digest: str,
    scores: Sequence[float],
    before: Sequence[float],
    *,
    tolerance: float,
    alpha: float,
    needed: int,
) -> LiveVerdict:
    """The verdict on all scores so far."""
    mean = math.fsum(scores) / len(scores) if scores else 0.0
    floor = floor_of(before, tolerance=tolerance, needed=needed)
    if floor is None:
        return LiveVerdict(digest, len(scores), mean, None, 1.0, has_fallen=False)
    test = FallTest(floor, alpha)
    for score in scores:
        test.add(score)
    return LiveVerdict(digest, len(scores), mean, floor, test.wealth, has_fallen=test.has_fallen)
