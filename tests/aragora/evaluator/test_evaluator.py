"""A/B tests: who wins, what a draw is, who may judge, what is claimed and stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from answering import Answering, always, first_shown

from aragora.errors import UsageError
from aragora.memory import Memory
from aragora.training.evaluator import TinkerEvaluator, needed_trials
from aragora.training.evaluator_page import render_ab_page
from aragora.training.evaluator_records import EvaluationTask, elo_of_rate

KEYED = [EvaluationTask(f"{n} + 1?", answer=str(n + 1)) for n in range(10)]
OPEN = [f"task {n}" for n in range(10)]


def good(task: str, *_: Any) -> str:
    return str(int(task.split()[0]) + 1)


def run(evaluator: TinkerEvaluator, *arguments: Any, **named: Any) -> Any:
    return asyncio.run(evaluator.a_b_test(*arguments, **named))


def test_a_verifier_decides_and_equal_answers_are_draws(memory: Memory) -> None:
    evaluator = TinkerEvaluator(memory=memory)
    better, worse = Answering("mine", good), Answering("base", always("0"))
    result = run(evaluator, KEYED, better, worse, num_trials=3)
    assert result.fine_tuned_win_rate == 1.0
    assert result.is_significant
    # Ten tasks, whatever the number of trials: 2 of 2^10 sign patterns are as extreme.
    assert result.p_value == pytest.approx(2 / 2**10)
    assert result.judges == ()
    assert (result.accuracy(0), result.accuracy(1)) == (1.0, 0.0)
    assert result.observations(0) == [(0.75, True)] * 30
    (stored,) = memory.evaluations.of_agent("mine")
    assert stored == memory.evaluations.get(result.id)
    assert stored.figures["fine_tuned_win_rate"] == 1.0
    assert len(stored.trials) == 30

    even = run(evaluator, KEYED, Answering("a", good), Answering("b", good), num_trials=2)
    assert (even.fine_tuned_win_rate, even.draws, even.p_value) == (0.5, 1.0, 1.0)
    assert not even.is_significant


def test_the_same_task_again_is_no_further_task() -> None:
    mine, base = Answering("mine", good), Answering("base", always("0"))
    result = run(TinkerEvaluator(), [KEYED[0]] * 50, mine, base, num_trials=20)
    assert result.rates.tasks == 1
    assert not result.is_significant
    assert "can't reach significance" in result.warning


def test_a_judge_that_goes_by_place_gives_draws() -> None:
    mine, base = Answering("mine", always("x")), Answering("base", always("y"))
    first = Answering("judge", good, vote=first_shown)
    result = run(TinkerEvaluator([first]), OPEN, mine, base, num_trials=2)
    assert (result.fine_tuned_win_rate, result.draws) == (0.5, 1.0)
    assert set(first.shown) == {("x", "y"), ("y", "x")}

    fair = Answering("judge", good, vote=lambda cs: next(c.label for c in cs if c.answer == "x"))
    result = run(TinkerEvaluator([fair]), OPEN, mine, base, num_trials=2)
    assert result.fine_tuned_win_rate == 1.0
    assert result.is_significant
    assert not any(trial.decided_by != "judges" for trial in result.trials)


def test_no_contestant_judges() -> None:
    mine, base = Answering("mine", always("x")), Answering("base", always("y"))
    for judge in (mine, Answering("other name", good, model="base")):
        with pytest.raises(UsageError, match="is a contestant or answers with a contestant"):
            run(TinkerEvaluator([judge]), OPEN, mine, base)
    with pytest.raises(UsageError, match="there is no judge"):
        run(TinkerEvaluator([]), OPEN, mine, base)


def test_who_can_not_answer_loses_and_a_judge_that_fails_is_not_heard() -> None:
    def broken(*_: Any) -> str:
        raise RuntimeError("no")

    mine, base = Answering("mine", broken), Answering("base", good)
    result = run(TinkerEvaluator(), KEYED, mine, base, num_trials=1)
    assert result.fine_tuned_win_rate == 0.0
    assert "RuntimeError" in result.trials[0].errors[0]

    def deaf(candidates: Any) -> str:
        raise RuntimeError("no")

    judge = Answering("judge", good, vote=deaf)
    other = Answering("other", always("x"))
    with pytest.raises(UsageError, match="no trial could be scored"):
        run(TinkerEvaluator([judge]), OPEN, other, Answering("b", always("y")))


def test_anytime_stops_when_it_is_decided() -> None:
    tasks = [EvaluationTask(f"{n} + 1?", answer=str(n + 1)) for n in range(100)]
    mine, base = Answering("mine", good), Answering("base", always("0"))
    result = run(TinkerEvaluator(), tasks, mine, base, num_trials=1, mode="anytime")
    # E = 2^n / (n + 1) first reaches 20 at n = 8.
    assert result.rates.tasks == 8
    assert result.is_significant
    assert result.tasks_given == 100


def test_a_benchmark_compares_with_every_baseline() -> None:
    bases = [Answering("weak", always("0")), Answering("same", good)]
    report = asyncio.run(
        TinkerEvaluator().evaluate_on_benchmark(Answering("mine", good), KEYED, bases, 2)
    )
    assert report["overall_win_rate"] == pytest.approx(0.75)
    assert report["overall_elo_gain"] == pytest.approx(elo_of_rate(0.75, 10))
    assert report["accuracy"] == 1.0
    assert set(report["by_baseline"]) == {"weak", "same"}
    assert set(report["by_task"].values()) == {0.75}
    assert report["calibration"]["brier"] == pytest.approx(0.0625)
    assert report["cost"]["agent_tokens"] > 0


def test_how_many_trials_would_be_needed() -> None:
    needed = needed_trials(0.7, trials_per_task=5)
    assert needed["tasks"] is not None
    assert needed["trials"] == 5 * needed["tasks"]
    more = needed_trials(0.6, trials_per_task=5)["tasks"]
    assert more is not None
    assert more > needed["tasks"]


def test_the_page_shows_texts_as_texts() -> None:
    tasks = [EvaluationTask(f"<script>{n}</script> {n}", answer="x") for n in range(6)]
    result = run(TinkerEvaluator(), tasks, Answering("a", always("x")), Answering("b", good))
    page = render_ab_page(result)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
