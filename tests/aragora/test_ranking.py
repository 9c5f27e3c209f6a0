"""Ratings and calibration against independent references."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Scripted

from aragora.debate import Arena, Environment, load_protocol
from aragora.memory import Memory
from aragora.ranking import bradley_terry, calibration_report, expected_score, multi_way


def test_two_seats_are_ordinary_elo() -> None:
    # Elo's own example: 400 points are odds of ten to one.
    assert expected_score(1900, 1500) == pytest.approx(10 / 11)
    assert multi_way([1500, 1500], [1, 2]) == [1516, 1484]
    assert multi_way([1500, 1500], [1, 1]) == [1500, 1500]


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.floats(500, 3000), st.integers(1, 4)), min_size=1, max_size=7))
def test_points_are_only_passed_around(seats: list[tuple[float, int]]) -> None:
    before = [r for r, _ in seats]
    after = multi_way(before, [p for _, p in seats])
    assert sum(after) == pytest.approx(sum(before))


def test_bradley_terry_agrees_with_choix() -> None:
    choix = pytest.importorskip("choix", reason="choix is the reference")
    rng = random.Random(3)
    true = [0.0, 0.5, 1.2, -0.7, 0.1]
    names = ["a", "b", "c", "d", "e"]
    data: list[tuple[int, int]] = []
    wins: dict[tuple[str, str], float] = {}
    for _ in range(600):
        i, j = rng.sample(range(5), 2)
        if rng.random() > 1 / (1 + math.exp(true[j] - true[i])):
            i, j = j, i
        data.append((i, j))
        wins[names[i], names[j]] = wins.get((names[i], names[j]), 0.0) + 1.0
    expected = choix.opt_pairwise(5, data)
    mean = sum(expected) / 5
    ours = bradley_terry(wins, prior=0.0)
    for name, value in zip(names, expected, strict=True):
        assert ours[name] == pytest.approx(value - mean, abs=1e-3)


def test_an_unbeaten_agent_stays_finite() -> None:
    strength = bradley_terry({("ann", "bob"): 5.0})
    assert 0 < strength["ann"] < 20
    assert bradley_terry({}) == {}


def test_brier_agrees_with_scikit_learn_and_bins_add_up() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference")
    rng = random.Random(5)
    seen = [(c := rng.random(), rng.random() < c) for _ in range(400)]
    report = calibration_report(seen)
    reference = metrics.brier_score_loss([r for _, r in seen], [c for c, _ in seen])
    assert report.brier == pytest.approx(reference)
    assert sum(b.count for b in report.bins) == 400
    assert report.ece is not None
    assert report.ece < 0.1
    assert calibration_report([(1.0, False)] * 5).ece == 1.0
    assert calibration_report([]).brier is None
    with pytest.raises(ValueError, match="confidence"):
        calibration_report([(1.5, True)])


def test_debates_that_end_together_lose_no_step(memory: Memory) -> None:
    async def everybody() -> None:
        async def one(number: int) -> None:
            agents = [Scripted(n, [said]) for n, said in (("ann", "blue"), ("bob", "red"))]
            judge = Scripted("jo", ["-"], role="judge")
            await Arena(
                Environment(f"task {number}?"), [*agents, judge],
                load_protocol("judge", rounds=1, critique=False, revise=False), memory=memory,
                seed=number,
            ).run()  # fmt: skip

        await asyncio.gather(*(one(number) for number in range(30)))

    asyncio.run(everybody())
    for system in ("elo", "openskill"):
        for rating in memory.standings.ratings(system=system):
            steps = memory.standings.history(rating.agent, system=system)
            assert (rating.games, len(steps)) == (30, 30)
            assert [s.after for s in steps[:-1]] == [s.before for s in steps[1:]]
            assert steps[-1].after == rating.value
