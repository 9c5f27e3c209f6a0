"""A/B statistics: error rates under the null, fixed and with peeking; power as predicted.

2,000 simulated tests of 30 tasks with 4 correlated trials each, two equal agents: at most 6% may
be significant at a nominal 5%, once at the end and looked at after every task. Naive trial-level
tests of the same data are printed beside them. Then power: predicted against simulated, and what
fewer than six tasks can show.
"""

from __future__ import annotations

import random

from scipy.stats import binomtest

from aragora.training.ab_statistics import AnytimeTest, power, tasks_needed, win_rate
from evidence._report import conclude

TESTS, TASKS, TRIALS = 2000, 30, 4
ALPHA, MOST = 0.05, 0.06
POWERED = 1000
DESIGNS = ((0.62, 30, 4, 0.0), (0.7, 20, 2, 0.2), (0.6, 60, 1, 0.0))
SEED = 20261124


def equal_agents(rng: random.Random) -> dict[str, list[float]]:
    """Tasks on which one of two equal agents happens to be better, the same in every trial."""
    scores: dict[str, list[float]] = {}
    for place in range(TASKS):
        chance = rng.choice((0.15, 0.5, 0.85))
        scores[f"task {place}"] = [trial(rng, chance, 0.1) for _ in range(TRIALS)]
    return scores


def trial(rng: random.Random, rate: float, draws: float) -> float:
    """One trial's score with this mean and share of draws."""
    drawn = rng.random()
    if drawn < draws:
        return 0.5
    return float(drawn < draws + (rate - draws / 2.0))


def under_the_null() -> dict[str, float]:
    """Shares of tests that call two equal agents different."""
    rng = random.Random(SEED)
    fixed = anytime = naive = covered = 0
    for _ in range(TESTS):
        scores = equal_agents(rng)
        result = win_rate(scores)
        fixed += result.p_value <= ALPHA
        covered += result.interval.low <= 0.5 <= result.interval.high
        test = AnytimeTest()
        for values in scores.values():
            test.add(sum(values) / len(values))
        anytime += test.is_decided(ALPHA)
        flat = [value for values in scores.values() for value in values if value != 0.5]
        naive += bool(binomtest(int(sum(flat)), len(flat)).pvalue <= ALPHA)
    return {
        "fixed": fixed / TESTS,
        "anytime_with_peeking": anytime / TESTS,
        "trials_taken_as_independent": naive / TESTS,
        "interval_covers": covered / TESTS,
    }


def powers() -> list[dict[str, float]]:
    """Predicted and simulated power of three designs."""
    rows: list[dict[str, float]] = []
    for rate, tasks, trials, draws in DESIGNS:
        rng = random.Random(SEED + tasks)
        found = 0
        for _ in range(POWERED):
            scores = {
                str(place): [trial(rng, rate, draws) for _ in range(trials)]
                for place in range(tasks)
            }
            found += win_rate(scores).p_value <= ALPHA
        rows.append(
            {
                "rate": rate,
                "tasks": tasks,
                "trials": trials,
                "draws": draws,
                "predicted": round(power(rate, tasks, trials, draws=draws), 3),
                "simulated": found / POWERED,
                "tasks_for_80": tasks_needed(rate, trials, draws=draws) or -1,
            }
        )
    return rows


def few_tasks() -> dict[int, float]:
    """The smallest p-value of up to six tasks that all were won; each under six has to warn."""
    least: dict[int, float] = {}
    for tasks in range(1, 7):
        result = win_rate({str(place): [1.0] * 50 for place in range(tasks)})
        assert bool(result.warning) == (tasks < 6), tasks
        least[tasks] = result.p_value
    return least


def main() -> None:
    """Simulate and judge."""
    null, designs, least = under_the_null(), powers(), few_tasks()
    print("equal agents called different:", null)
    print("power:", designs)
    print("smallest p-value by tasks:", least)
    is_close = all(abs(row["predicted"] - row["simulated"]) <= 0.06 for row in designs)
    holds = (
        null["fixed"] <= MOST
        and null["anytime_with_peeking"] <= MOST
        and is_close
        and least[5] > ALPHA >= least[6]
    )
    conclude("statistics", {"null": null, "power": designs, "least_p": least}, holds=holds)


if __name__ == "__main__":
    main()
