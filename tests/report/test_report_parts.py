"""Laws of the parts: which answers are shown, how curves are drawn, what a replay shows."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensafe.evaluate.items import ItemResult
from tensafe.report import read_run
from tensafe.report.answers import SHOWN, choose_answers
from tensafe.report.curves import (
    HEIGHT,
    MOST_POINTS,
    WIDTH,
    bucketed,
    epsilon_plot,
    log_ticks,
    loss_plot,
    rolling_median,
    ticks,
)
from tools.screenshots import terminal_svg

SCORES = st.sampled_from((0.0, 0.5, 1.0))


def item(number: int, score: float, base_score: float) -> ItemResult:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return ItemResult(
        digest, "a.csv", f"row {number}", "p", "r", "", "exact", "a", "b", score, base_score,
        is_exact=score == 1.0,
    )  # fmt: skip


# Drawing sixty pairs is slow on a busy machine, which says nothing about the law.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scores=st.lists(st.tuples(SCORES, SCORES), max_size=60), seed=st.integers(0, 99))
def test_shown_answers_follow_from_digests_and_outcomes_alone(
    scores: list[tuple[float, float]], seed: int
) -> None:
    items = [item(i, *pair) for i, pair in enumerate(scores)]
    groups = choose_answers(items)
    assert sum(len(g.shown) for g in groups) == min(SHOWN, len(items))
    assert sum(g.total for g in groups) == len(items)
    better, worse, missed, right = groups
    assert len(better.shown) >= min(4, better.total)
    assert len(worse.shown) >= min(4, worse.total)
    assert len(missed.shown) >= min(3, missed.total)
    assert len(right.shown) >= min(1, right.total)
    shuffled = random.Random(seed).sample(items, len(items))
    assert choose_answers(shuffled) == groups


def test_within_an_outcome_the_order_of_digests_decides() -> None:
    items = [item(i, 1.0, 0.0) for i in range(40)]
    (better, *_) = choose_answers(items)
    keys = [hashlib.sha256(i.digest.encode()).hexdigest() for i in items]
    expected = sorted(zip(keys, items, strict=True), key=lambda pair: pair[0])[:SHOWN]
    assert list(better.shown) == [i for _, i in expected]


@given(high=st.floats(1e-6, 1e9))
def test_ticks_are_few_round_and_inside(high: float) -> None:
    values = ticks(high)
    assert values[0] == 0.0
    assert 2 <= len(values) <= 7
    assert all(v <= high * (1 + 1e-6) for v in values)


def test_log_ticks_lie_inside() -> None:
    assert log_ticks(0.02, 4.0) == [0.03, 0.1, 0.3, 1.0, 3.0]


def test_many_steps_become_means_of_neighbours() -> None:
    points = [(float(i), float(i % 2)) for i in range(1, 1001)]
    shown, size = bucketed(points)
    assert len(shown) <= MOST_POINTS
    assert size == 5
    assert shown[0] == (3.0, 0.6)


def test_one_wild_step_does_not_move_the_thick_line() -> None:
    points = [(float(i), 1.0 if i != 10 else 99.0) for i in range(1, 31)]
    assert {y for _, y in rolling_median(points, 3)} == {1.0}


@given(
    losses=st.lists(st.floats(0.0, 1e4), min_size=1, max_size=400),
    validation=st.lists(st.floats(0.0, 1e4), max_size=5),
)
def test_every_loss_lies_inside_the_frame(losses: list[float], validation: list[float]) -> None:
    points = [(float(i), y) for i, y in enumerate(losses, 1)]
    marks = [(float(min(i, len(losses))), y) for i, y in enumerate(validation, 1)]
    plot = loss_plot(points, marks, unit="per example", is_private=True)
    assert plot is not None
    places = [
        (float(x), float(y))
        for line in plot.lines
        for x, y in re.findall(r"([-\d.e+]+) ([-\d.e+]+)", line.path)
    ]
    for x, y in (*places, *plot.marks):
        assert plot.left <= x <= plot.right + 0.1 <= WIDTH
        assert plot.top - 0.1 <= y <= plot.bottom + 0.1 <= HEIGHT


def test_the_last_epsilon_is_the_one_stated() -> None:
    spent = [(float(i), i / 100) for i in range(1, 701)]
    plot = epsilon_plot(spent, budget=8.0)
    assert plot is not None
    assert "7.000 of a budget of 8" in plot.summary
    assert epsilon_plot([], budget=8.0) is None


def test_the_replay_shows_recorded_events_with_recorded_times(recorded_run: Path) -> None:
    run = read_run(recorded_run)
    image = terminal_svg(run)
    words = " ".join(re.sub(r"<[^>]+>", " ", image).replace("&#160;", " ").split())
    events = [
        json.loads(line)
        for line in (recorded_run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for event in events:
        if event["event"] == "stage":
            elapsed = event["time"] - events[0]["time"]
            assert f"{elapsed:.1f}s" in words
    assert "replay of the run" in words
    assert "failed qa_verify" in words
    assert "url(http" not in image
    assert "@font-face" not in image


@pytest.mark.parametrize("count", [0, 3])
def test_few_items_are_all_shown(count: int) -> None:
    groups = choose_answers([item(i, 1.0, 1.0) for i in range(count)])
    assert sum(len(g.shown) for g in groups) == count
