"""`aragora ab-test`: is one agent better than another?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aragora.cli.options import Database, Json

if TYPE_CHECKING:
    from aragora.training.evaluator_records import ABTestResult, EvaluationTask

EPILOG = """
Examples:

  aragora ab-test --tasks tasks.jsonl --agent mine=loop-v2 --baseline base

  aragora ab-test --tasks tasks.jsonl --agent mine=loop-v2 --baseline base --mode anytime

  aragora ab-test --tasks talks.txt --agent ann=openai:gpt-5 --baseline bob --judge eve=gemini:pro

An agent is name, name=model or name=provider:model, or name=id of a model in the registry. A task
file holds one task a line, or JSON objects with task and answer; tasks with an answer are scored by
it. Exit code 3: the agent is not significantly better.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("ab-test", epilog=EPILOG, help="Test whether one agent beats another.")(ab_test)


def ab_test(
    tasks: Annotated[Path, typer.Option(help="File of tasks.", exists=True, dir_okay=False)],
    agent: Annotated[str, typer.Option(help="The agent under test.")],
    baseline: Annotated[str, typer.Option(help="What it is compared with.")],
    trials: Annotated[int, typer.Option(help="Trials per task.", min=1)] = 10,
    judge: Annotated[
        list[str] | None, typer.Option(help="A judge; may be repeated. No contestant can be one.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="fixed, or anytime (looks after every task, may stop early).")
    ] = "fixed",
    alpha: Annotated[float, typer.Option(help="Level of the test.", min=0.0001, max=0.5)] = 0.05,
    temperature: Annotated[
        float | None, typer.Option(help="Of answers [default: each agent's own].")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.", min=1)] = 256,
    limit: Annotated[int | None, typer.Option(help="Only the first tasks.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of all trials.", min=0)] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write a page with a plot by task.")] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Run the test, store it, print what it found."""
    import asyncio

    from aragora.errors import UsageError
    from aragora.memory import Memory
    from aragora.training.evaluator import TinkerEvaluator
    from aragora.training.evaluator_agents import read_contestants
    from aragora.training.evaluator_page import write_ab_page

    if mode not in ("fixed", "anytime"):
        raise UsageError(f"--mode {mode!r} is not known; choose fixed or anytime")
    listed = read_evaluation_tasks(tasks)[:limit]
    with Memory.open(database) as memory:
        mine, other, *judges = read_contestants([agent, baseline, *(judge or [])], memory)
        evaluator = TinkerEvaluator(
            judges or None, memory=memory, alpha=alpha, max_tokens=max_tokens,
            temperature=temperature, seed=seed,
        )  # fmt: skip
        done = 0

        def told(_: object) -> None:
            nonlocal done
            done += 1
            if done % max(1, trials * len(listed) // 10) == 0:
                print(f"{done} of {trials * len(listed)} trials", file=sys.stderr)

        result = asyncio.run(
            evaluator.a_b_test(
                listed,
                mine,
                other,
                trials,
                mode="anytime" if mode == "anytime" else "fixed",
                on_trial=told,
            )
        )
    if plot is not None:
        write_ab_page(result, plot)
        print(plot, file=sys.stderr)
    print(json.dumps(result.figures()) if as_json else text_of(result))
    is_better = result.is_significant and result.fine_tuned_win_rate > 0.5
    raise SystemExit(0 if is_better else 3)


def read_evaluation_tasks(path: Path) -> list[EvaluationTask]:
    """Tasks of a file: JSON objects with `task` (and `answer`), or one task a line.

    Raises UsageError naming the file and the line. Lines of split `train` are left out.
    """
    from aragora.errors import UsageError
    from aragora.training.evaluator_records import EvaluationTask

    found: list[EvaluationTask] = []
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if not line.lstrip().startswith("{"):
            found.append(EvaluationTask(line.strip()))
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not JSON ({error})") from error
        if not str(row.get("task", "")).strip():
            raise UsageError(f"{path}, line {number}: expected an object with task")
        if row.get("split") == "train":
            continue
        context = f"{row['context']}\n\n" if row.get("context") else ""
        answer, domain = str(row.get("answer", "")), str(row.get("domain", "general"))
        found.append(EvaluationTask(context + str(row["task"]), answer, domain=domain))
    if not found:
        raise UsageError(f"{path}: holds no task to test with")
    return found


def text_of(result: ABTestResult) -> str:
    """What the terminal shows."""
    low, high = result.interval.low, result.interval.high
    lines = [
        f"{result.fine_tuned} against {result.baseline}: win rate "
        f"{result.fine_tuned_win_rate:.1%} ({low:.1%} to {high:.1%}) over {result.rates.tasks} "
        f"tasks and {result.rates.trials} trials, {result.draws:.0%} draws",
        f"p = {result.p_value:.3g} ({result.mode}, {result.rates.test.method}): "
        + ("significant" if result.is_significant else "not significant")
        + f" at {result.alpha:g}; effect {result.effect:+.2f}, Elo {result.elo_gain:+.0f}",
    ]
    accuracies = [result.accuracy(0), result.accuracy(1)]
    if accuracies[0] is not None and accuracies[1] is not None:
        lines.append(f"right answers: {accuracies[0]:.1%} against {accuracies[1]:.1%}")
    if not result.is_significant and result.tasks_needed is not None:
        lines.append(
            f"if this rate is the true one, {result.tasks_needed} tasks of "
            f"{result.trials_per_task} trials would show it four times in five"
        )
    if result.unscored:
        lines.append(f"{result.unscored} trials could not be scored")
    if result.warning:
        lines.append(f"warning: {result.warning}")
    return "\n".join(lines)
