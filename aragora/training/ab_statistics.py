"""Statistics of A/B tests between two agents: exact tests, intervals, an anytime test, power.

A trial's score is 1 when the agent under test won, 0 when the baseline did, 0.5 for a draw. Trials
of one task are not independent of each other, so everything is computed on the means of tasks:
repeating a task sharpens its mean and never stands for another task. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from tensafe.evaluate.statistics import Interval, PairedTest, compare_paired, wilson_interval

EVEN = 0.5
# With T tasks the smallest two-sided p of flipping their signs is 2 / 2^T.
FEWEST_TASKS = 6


@dataclass(frozen=True)
class WinRate:
    """The mean over tasks of the agent's score, its interval, and the test against 0.5.

    `effect` is 2 * rate - 1: tasks won minus tasks lost, as a share. `warning` says why a
    significant result can't be reached, where that is so.
    """

    rate: float
    interval: Interval
    effect: float
    test: PairedTest
    tasks: int
    trials: int
    warning: str = ""

    @property
    def p_value(self) -> float:
        """Two-sided, exact where there are at most 14 tasks that were not even."""
        return self.test.p_value


def task_means(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The mean score of each task that was tried.

    Raises:
        ValueError: a score outside [0, 1], or nothing was tried.
    """
    for task, values in scores.items():
        if any(not 0.0 <= value <= 1.0 for value in values):
            raise ValueError(f"scores of {task[:60]!r} must lie in [0, 1]")
    means = {task: math.fsum(v) / len(v) for task, v in scores.items() if v}
    if not means:
        raise ValueError("no trial was scored")
    return means


def win_rate(scores: Mapping[str, Sequence[float]], *, level: float = 0.95) -> WinRate:
    """Win rate of the agent under test with an interval and a sign-flip test over tasks.

    Under the null that nobody can tell the agents apart, exchanging them flips a task's mean
    around 0.5, whatever the trials within the task have in common.

    Raises:
        ValueError: a score outside [0, 1], or nothing was tried.
    """
    means = task_means(scores)
    values = list(means.values())
    test = compare_paired(values, [EVEN] * len(values))
    rate = math.fsum(values) / len(values)
    warning = ""
    # 2 / 2^T, in the open: fewer tasks can't get below 0.05 however the trials end.
    if len(values) < FEWEST_TASKS:
        least = 2.0 / 2.0 ** len(values)
        warning = (
            f"{len(values)} task(s) can't reach significance at 0.05: the smallest p-value is "
            f"{least:.3g}; give at least {FEWEST_TASKS} different tasks"
        )
    return WinRate(
        rate=rate,
        interval=_interval(values, level),
        effect=2.0 * rate - 1.0,
        test=test,
        tasks=len(values),
        trials=sum(len(v) for v in scores.values()),
        warning=warning,
    )


def _interval(values: Sequence[float], level: float) -> Interval:
    """Student's t over task means, and never narrower than what Wilson gives where all agree."""
    count = len(values)
    mean = math.fsum(values) / count
    wide = wilson_interval(mean, count, level=level)
    if count < 2:
        return wide
    from scipy.stats import t

    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    if variance == 0.0:
        return wide
    half = float(t.ppf(0.5 + level / 2.0, count - 1)) * math.sqrt(variance / count)
    return Interval(max(0.0, mean - half), min(1.0, mean + half), level)


class AnytimeTest:
    """A two-sided test that may be looked at after every task and stopped when it is decided.

    Tasks that are not even are fair coins under the null. With a uniform prior over the coin, the
    likelihood ratio of w wins in n decided tasks is the beta-binomial mixture

        E = 2^n B(w + 1, n - w + 1)

    a martingale under the null with mean 1 (Robbins 1970; Ville 1939): that it ever reaches
    1 / alpha has probability at most alpha. `p_value` is 1 / max E so far.
    """

    def __init__(self) -> None:
        self.wins = self.losses = 0
        self._highest = 0.0

    def add(self, mean: float) -> None:
        """Take one finished task's mean score; an even one decides nothing."""
        if mean == EVEN:
            return
        if mean > EVEN:
            self.wins += 1
        else:
            self.losses += 1
        self._highest = max(self._highest, self.log_evidence)

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of E."""
        from scipy.special import betaln

        decided = self.wins + self.losses
        return decided * math.log(2.0) + float(betaln(self.wins + 1, self.losses + 1))

    @property
    def p_value(self) -> float:
        """Valid at every moment, however often it was looked at."""
        return min(1.0, math.exp(-self._highest))

    def is_decided(self, alpha: float = 0.05) -> bool:
        """Whether the null is rejected at this level; once True it stays so."""
        return self.p_value <= alpha


def anytime_p_value(means: Iterable[float]) -> float:
    """The anytime p-value after these tasks, in the order in which they were finished."""
    test = AnytimeTest()
    for mean in means:
        test.add(mean)
    return test.p_value


def power(
    rate: float, tasks: int, trials: int, *, draws: float = 0.0, alpha: float = 0.05
) -> float:
    """Chance that the test over `tasks` tasks of `trials` trials each is significant.

    `rate` is the expected mean score and `draws` the share of draws; trials are taken as
    independent, so that tasks which differ in difficulty need more.

    With k = wins - losses of a task, flipping signs gives the sum of k the variance T E[k^2]; under
    the alternative it is T n (2 rate - 1) on average with variance T n v, v a trial's. Normal
    approximation of both, with the lattice's continuity correction.

    Raises:
        ValueError: a rate, share or count that can't be.
    """
    _require_design(rate, tasks, trials, draws)
    if tasks < FEWEST_TASKS:
        return 0.0
    lean = abs(2.0 * rate - 1.0)
    variance = (1.0 - draws) - lean * lean
    square = trials * variance + (trials * lean) ** 2
    if variance <= 0.0:
        return 1.0 if lean > 0 else 0.0
    # All sums of an even number of decided trials are even: the lattice is twice as coarse.
    step = 2.0 if draws == 0.0 and trials % 2 == 0 else 1.0
    critical = step + NormalDist().inv_cdf(1.0 - alpha / 2.0) * math.sqrt(tasks * square)
    mean, deviation = tasks * trials * lean, math.sqrt(tasks * trials * variance)
    normal = NormalDist(0.0, deviation)
    return normal.cdf(mean - critical) + normal.cdf(-mean - critical)


def tasks_needed(
    rate: float,
    trials: int,
    *,
    draws: float = 0.0,
    alpha: float = 0.05,
    wanted: float = 0.8,
    most: int = 100_000,
) -> int | None:
    """The fewest tasks that reach the wanted power; None when `most` don't.

    Raises:
        ValueError: a rate, share or count that can't be.
    """
    low, high = FEWEST_TASKS, FEWEST_TASKS
    while power(rate, high, trials, draws=draws, alpha=alpha) < wanted:
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while low < high:
        middle = (low + high) // 2
        if power(rate, middle, trials, draws=draws, alpha=alpha) >= wanted:
            high = middle
        else:
            low = middle + 1
    return high


def _require_design(rate: float, tasks: int, trials: int, draws: float) -> None:
    possible = 0.0 <= draws <= 1.0 and draws / 2.0 <= rate <= 1.0 - draws / 2.0
    if not possible or tasks < 1 or trials < 1:
        raise ValueError(
            f"a rate of {rate} with {draws} draws over {tasks} tasks of {trials} trials can't be"
        )
