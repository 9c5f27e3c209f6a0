"""A/B statistics: tasks, not trials, are the unit; peeking is paid for; power is what it says."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from aragora.training.ab_statistics import (
    AnytimeTest,
    anytime_p_value,
    power,
    tasks_needed,
    win_rate,
)


def won(tasks: int, trials: int, rate: float = 1.0) -> dict[str, list[float]]:
    return {f"task {t}": [rate] * trials for t in range(tasks)}


def test_repeating_a_task_is_not_more_tasks() -> None:
    once, often = win_rate(won(6, 1)), win_rate(won(6, 50))
    assert once.p_value == often.p_value == pytest.approx(2 / 2**6)
    assert often.trials == 300


@pytest.mark.parametrize("tasks", range(1, 6))
def test_fewer_than_six_tasks_warn(tasks: int) -> None:
    result = win_rate(won(tasks, 40))
    assert "can't reach significance" in result.warning
    assert result.p_value > 0.05


def test_six_tasks_reach_it_without_a_warning() -> None:
    result = win_rate(won(6, 3))
    assert not result.warning
    assert result.p_value < 0.05


def test_draws_everywhere_say_nothing() -> None:
    result = win_rate(won(20, 4, 0.5))
    assert result.p_value == 1.0
    assert result.rate == 0.5
    assert result.interval.low < 0.5 < result.interval.high


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=4), min_size=1, max_size=9
    )
)
@example([[0.0, 1.0, 1.0], [0.5, 1.0, 1.0], [0.0]])
def test_exchanging_the_agents_mirrors_the_result(trials: list[list[float]]) -> None:
    scores = {str(place): values for place, values in enumerate(trials)}
    mirrored = {task: [1.0 - v for v in values] for task, values in scores.items()}
    one, other = win_rate(scores), win_rate(mirrored)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.rate == pytest.approx(1.0 - other.rate)
    assert one.effect == pytest.approx(-other.effect)
    assert one.interval.low == pytest.approx(1.0 - other.interval.high)


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=8),
)
def test_the_p_value_is_that_of_all_sign_flips(means: list[float]) -> None:
    shifts = [mean - 0.5 for mean in means]
    observed = abs(sum(shifts))
    flips = list(itertools.product((1, -1), repeat=len(shifts)))
    extreme = sum(
        abs(sum(s * x for s, x in zip(flip, shifts, strict=True))) >= observed - 1e-12
        for flip in flips
    )
    result = win_rate({str(place): [mean] for place, mean in enumerate(means)})
    assert result.p_value == pytest.approx(extreme / len(flips))


def test_evidence_is_the_mixture_of_likelihood_ratios() -> None:
    test = AnytimeTest()
    for mean in (1.0, 1.0, 0.0, 1.0, 0.5, 1.0):
        test.add(mean)
    from scipy.integrate import quad

    def weighted(chance: float) -> float:
        return float(beta.pdf(chance, 1, 1) * binom.pmf(4, 5, chance))

    ratio, _ = quad(weighted, 0, 1)
    assert math.exp(test.log_evidence) == pytest.approx(ratio / binom.pmf(4, 5, 0.5))


def test_a_rejection_stays_one() -> None:
    test = AnytimeTest()
    for _ in range(12):
        test.add(1.0)
    assert test.is_decided()
    before = test.p_value
    for _ in range(12):
        test.add(0.0)
    assert test.p_value == before


def test_peeking_pays_with_power_not_with_errors() -> None:
    rng = random.Random(5)
    rejected = sum(
        anytime_p_value([rng.choice((0.0, 1.0)) for _ in range(150)]) <= 0.05 for _ in range(400)
    )
    # 400 tests at a true rate of at most 0.05: 36 or more happen once in 2,000 times.
    assert rejected < 36


def test_power_grows_and_gives_the_tasks_needed() -> None:
    values = [power(0.7, tasks, 1) for tasks in (6, 20, 50, 200)]
    assert values == sorted(values)
    assert power(0.9, 5, 100) == 0.0
    needed = tasks_needed(0.7, 1)
    assert needed is not None
    assert power(0.7, needed, 1) >= 0.8 > power(0.7, needed - 1, 1)
    assert tasks_needed(0.5001, 1, most=1000) is None


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_impossible_designs_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="can't be"):
        power(rate, 10, 1)


def test_impossible_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        win_rate({"a": [2.0]})
    with pytest.raises(ValueError, match="no trial"):
        win_rate({"a": []})
