from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tensafe.evaluate.statistics import compare_paired, mcnemar_exact, wilson_interval


@given(hits=st.integers(0, 300), extra=st.integers(0, 300), level=st.sampled_from([0.9, 0.95]))
def test_wilson_agrees_with_scipy(hits: int, extra: int, level: float) -> None:
    count = max(1, hits + extra)
    expected = stats.binomtest(hits, count).proportion_ci(level, method="wilson")
    found = wilson_interval(hits / count, count, level=level)
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)


@given(better=st.integers(0, 400), worse=st.integers(0, 400))
def test_mcnemar_is_the_binomial_test_on_discordant_pairs(better: int, worse: int) -> None:
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar_exact(better, worse) == pytest.approx(expected, rel=1e-9)


def test_an_interval_without_items_is_refused() -> None:
    with pytest.raises(ValueError, match="needs items"):
        wilson_interval(0.5, 0)


def test_no_p_value_is_zero() -> None:
    assert 0.0 < mcnemar_exact(2000, 0) < 1e-300


def test_zero_one_scores_use_mcnemar() -> None:
    test = compare_paired([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1])
    assert test.method == "mcnemar_exact"
    assert (test.better, test.worse) == (5, 1)
    assert test.p_value == pytest.approx(stats.binomtest(5, 6).pvalue)


def test_sign_flips_agree_with_scipy_when_exact() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(10), rng.random(10)
    expected = stats.permutation_test(
        (first, second), lambda x, y: float(np.mean(x - y)), permutation_type="samples"
    )
    test = compare_paired(first.tolist(), second.tolist())
    assert test.method == "sign_flip_exact"
    assert test.p_value == pytest.approx(expected.pvalue)


def test_sampled_sign_flips_are_near_the_t_test() -> None:
    rng = np.random.default_rng(1)
    first = rng.random(200)
    second = np.clip(first - 0.03 + 0.2 * rng.standard_normal(200), 0, 1)
    test = compare_paired(first.tolist(), second.tolist())
    assert test.method == "sign_flip_sampled"
    assert test.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.02)
    assert test == compare_paired(first.tolist(), second.tolist()), "the flips are seeded"


def test_equal_scores_show_no_difference() -> None:
    assert compare_paired([0.5, 1.0], [0.5, 1.0]).p_value == 1.0


def test_no_false_alarms_beyond_the_level() -> None:
    rng = np.random.default_rng(2)
    alarms = sum(
        compare_paired(
            (rng.random(60) < 0.7).astype(float).tolist(),
            (rng.random(60) < 0.7).astype(float).tolist(),
        ).p_value
        < 0.05
        for _ in range(400)
    )
    assert alarms / 400 < 0.07


@pytest.mark.parametrize("count", range(1, 400, 7))
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_an_interval_contains_its_mean_at_the_ends(mean: float, count: int) -> None:
    interval = wilson_interval(mean, count)
    assert interval.low <= mean <= interval.high
