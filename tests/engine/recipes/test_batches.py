"""Which examples stand in which step."""

from __future__ import annotations

import numpy as np
from scipy import stats

from tinker_engine.recipes.batches import EpochBatches, PoissonBatches


def test_epoch_batches_visit_every_example_once_per_epoch() -> None:
    batches = EpochBatches(examples=103, batch_size=10, seed=3)
    for epoch in range(3):
        seen = [i for s in range(11) for i in batches.at(epoch * 11 + s)]
        assert sorted(seen) == list(range(103))


def test_a_batch_is_a_pure_function_of_its_step() -> None:
    one, other = EpochBatches(50, 8, 1), EpochBatches(50, 8, 1)
    assert one.at(17) == other.at(17)
    key = PoissonBatches.new_key()
    assert PoissonBatches(50, 0.3, key).at(5) == PoissonBatches(50, 0.3, key).at(5)


def test_poisson_draws_are_independent_with_the_stated_rate() -> None:
    examples, rate, steps = 400, 0.05, 500
    batches = PoissonBatches(examples, rate, PoissonBatches.new_key())
    drawn = np.zeros((steps, examples), dtype=bool)
    for step in range(steps):
        drawn[step, batches.at(step)] = True
    # Total count is binomial; lot sizes have the binomial's variance (fixed lots would have 0).
    total = int(drawn.sum())
    assert stats.binomtest(total, examples * steps, rate).pvalue > 1e-6
    variance = drawn.sum(axis=1).var(ddof=1)
    expected = examples * rate * (1 - rate)
    ratio = (steps - 1) * variance / expected
    assert 1e-6 < stats.chi2.sf(ratio, steps - 1) < 1 - 1e-6
    # Neighbouring steps share examples no more often than chance.
    both = int((drawn[:-1] & drawn[1:]).sum())
    assert stats.binomtest(both, examples * (steps - 1), rate * rate).pvalue > 1e-6


def test_poisson_lots_may_be_empty() -> None:
    batches = PoissonBatches(10, 0.01, PoissonBatches.new_key())
    assert any(batches.at(step) == [] for step in range(200))


def test_two_runs_draw_different_lots() -> None:
    lots = {tuple(PoissonBatches(1000, 0.5, PoissonBatches.new_key()).at(0)) for _ in range(5)}
    assert len(lots) == 5
