"""A/B tests and benchmarks of agents, with exact tests over tasks.

    evaluator = TinkerEvaluator()
    result = await evaluator.a_b_test(tasks, fine_tuned_agent=mine, baseline_agent=base)
    print(result.fine_tuned_win_rate, result.is_significant)

A task with a verifier is scored by it; any other by judges, who see every pair in both orders: a
verdict that changes with the order is a draw. Judges may not be contestants, nor answer with a
contestant's weights. Results are stored in the database that was given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from aragora.agents.protocol import Agent
from aragora.agents.records import AgentIdentity
from aragora.agents.tinker_agent import TinkerAgent
from aragora.debate.environment import KeyVerifier, Verifier
from aragora.errors import UsageError
from aragora.memory.identity import digest_of, new_id
from aragora.memory.store import Memory
from aragora.training.ab_statistics import AnytimeTest, tasks_needed, win_rate
from aragora.training.evaluator_benchmark import benchmark_report
from aragora.training.evaluator_records import ABTestResult, EvaluationTask, Trial
from aragora.training.evaluator_trials import Answered, answer_task, judged_winner, verified

Mode = Literal["fixed", "anytime"]
Task = str | EvaluationTask
Verify = Verifier | Callable[[str, str], float]
_SEED_SPACE = 2**31 - 1
_MOST_TASKS = 100_000


class TinkerEvaluator:
    """Compares agents.

    Args:
        judges: who decides where no verifier can; None asks the engine's bare base, and where that
            is a contestant's model, no significance is claimed.
        memory: where results are stored; None stores nothing.
        alpha: level of the tests.
        max_tokens: longest answer.
        temperature: of answers; None leaves each agent its own.
        deadline_s: seconds for one answer or one verdict.
        concurrency: tasks at a time (one after another in anytime mode).
    """

    def __init__(
        self,
        judges: Sequence[Agent] | None = None,
        *,
        memory: Memory | None = None,
        alpha: float = 0.05,
        max_tokens: int = 256,
        temperature: float | None = None,
        deadline_s: float = 120.0,
        concurrency: int = 8,
        seed: int = 0,
    ) -> None:
        if not 0.0 < alpha < 1.0:
            raise UsageError(f"alpha is {alpha}; expected a level between 0 and 1, such as 0.05")
        self._judges = None if judges is None else list(judges)
        self._memory = memory
        self._alpha = alpha
        self._max_tokens, self._temperature = max_tokens, temperature
        self._deadline_s, self._seed = deadline_s, seed
        self._concurrency = max(1, concurrency)

    async def a_b_test(
        self,
        tasks: Sequence[Task],
        fine_tuned_agent: Agent,
        baseline_agent: Agent,
        num_trials: int = 10,
        *,
        verifier: Verify | None = None,
        mode: Mode = "fixed",
        on_trial: Callable[[Trial], None] | None = None,
    ) -> ABTestResult:
        """Whether one agent answers better than another.

        Args:
            tasks: different tasks; each is tried `num_trials` times. Repeating a task sharpens its
                mean and never counts as another task.
            verifier: scores an answer (`score(answer)`, or a function of task and answer) for tasks
                that bring no check of their own.
            mode: `anytime` looks after every task and stops when it is decided; its p-value is
                valid at every look, and needs more tasks than the fixed test for the same power.
            on_trial: told of every finished trial.

        Raises UsageError for no tasks, no trials, or a judge that is a contestant.
        """
        listed = _listed(tasks, verifier)
        if num_trials < 1:
            raise UsageError(f"num_trials is {num_trials}; at least 1 is needed")
        contestants = (fine_tuned_agent, baseline_agent)
        identities = [await asyncio.to_thread(a.identity) for a in contestants]
        judges, note = await self._chosen(listed, contestants, identities)
        started = time.time()
        anytime = AnytimeTest()
        trials: list[Trial] = []
        step = 1 if mode == "anytime" else self._concurrency
        for start in range(0, len(listed), step):
            batch = listed[start : start + step]
            done = await asyncio.gather(
                *(self._task(task, contestants, judges, num_trials, on_trial) for task in batch)
            )
            for made in done:
                trials += made
                scores = [t.score for t in made if t.score is not None]
                if scores:
                    anytime.add(sum(scores) / len(scores))
            if mode == "anytime" and anytime.is_decided(self._alpha):
                break
        result = self._result(
            listed,
            trials,
            identities,
            contestants,
            judges,
            note,
            mode,
            anytime,
            num_trials,
            started,
        )
        if self._memory is not None:
            await asyncio.to_thread(self._memory.evaluations.add, result.as_stored())
        return result

    async def evaluate_on_benchmark(
        self,
        agent: Agent,
        benchmark_tasks: Sequence[Task],
        baseline_agents: Sequence[Agent] | Agent,
        trials_per_task: int = 5,
        *,
        verifier: Verify | None = None,
    ) -> dict[str, Any]:
        """One agent against several baselines on the same tasks.

        Gives `overall_win_rate`, `overall_elo_gain` (the Elo difference that this win rate stands
        for), `by_task`, `by_baseline` (with tests), `accuracy` where a verifier scored,
        `calibration` where the agent can tell its confidence, and `cost`.
        """
        baselines = (
            list(baseline_agents) if isinstance(baseline_agents, Sequence) else [baseline_agents]
        )
        if not baselines:
            raise UsageError("give at least one baseline agent to compare with")
        results = [
            await self.a_b_test(
                benchmark_tasks, agent, baseline, trials_per_task, verifier=verifier
            )
            for baseline in baselines
        ]
        return benchmark_report(agent.name, results)

    async def _task(
        self,
        task: EvaluationTask,
        contestants: tuple[Agent, Agent],
        judges: Sequence[Agent],
        count: int,
        on_trial: Callable[[Trial], None] | None,
    ) -> list[Trial]:
        made: list[Trial] = []
        for number in range(count):
            trial = await self._trial(task, contestants, judges, number)
            made.append(trial)
            if on_trial is not None:
                on_trial(trial)
        return made

    async def _trial(
        self,
        task: EvaluationTask,
        contestants: tuple[Agent, Agent],
        judges: Sequence[Agent],
        number: int,
    ) -> Trial:
        """Both answer under one seed; who can't answer loses, and if neither can it is a draw."""
        seed = int(digest_of([self._seed, task.key, number])[:12], 16) % _SEED_SPACE

        async def answer(agent: Agent) -> Answered:
            return await answer_task(
                agent,
                task,
                seed=seed,
                temperature=self._temperature,
                max_tokens=self._max_tokens,
                deadline_s=self._deadline_s,
                with_confidence=task.verifier is not None,
            )

        mine, other = await asyncio.gather(*(answer(agent) for agent in contestants))
        score: float | None
        rights: tuple[float | None, float | None] = (None, None)
        decided_by, spent = "verifier", 0
        if task.verifier is not None:
            rights = (verified(task.verifier, mine), verified(task.verifier, other))
            score = _compared(rights)
        elif mine.answer is None or other.answer is None or mine.key == other.key:
            decided_by = "failure" if None in (mine.answer, other.answer) else "same answer"
            score = _compared((float(mine.answer is not None), float(other.answer is not None)))
        else:
            decided_by = "judges"
            winners = await asyncio.gather(
                *(
                    judged_winner(judge, task, mine, other, seed=seed, deadline_s=self._deadline_s)
                    for judge in judges
                )
            )
            said = [w.score for w in winners if w.score is not None]
            spent = sum(w.tokens for w in winners)
            # A majority of judges; a hung jury is a draw, a jury that couldn't be heard no trial.
            mean = sum(said) / len(said) if said else None
            score = None if mean is None else 0.5 if mean == 0.5 else float(mean > 0.5)
        return Trial(
            task=task.key,
            number=number,
            score=score,
            decided_by=decided_by,
            answers=(mine.answer, other.answer),
            right=rights,
            confidences=(mine.confidence, other.confidence),
            tokens=(mine.tokens, other.tokens),
            cost_usd=(mine.cost_usd, other.cost_usd),
            judge_tokens=spent,
            errors=(mine.error, other.error),
            seed=seed,
        )

    async def _chosen(
        self,
        tasks: Sequence[EvaluationTask],
        contestants: tuple[Agent, Agent],
        identities: Sequence[AgentIdentity],
    ) -> tuple[list[Agent], str]:
        """The judges, and why nothing significant may be claimed with them ("" where it may)."""
        if all(task.verifier is not None for task in tasks):
            return [], ""
        names = {agent.name for agent in contestants}
        weights = {_weights(i) for i in identities}
        if self._judges is None:
            judge = TinkerAgent("judge", role="judge")
            identity = await asyncio.to_thread(judge.identity)
            if _weights(identity) in weights:
                return [judge], (
                    "the only judge at hand answers with the weights of a contestant and may "
                    "favour its own words; give judges=[…], or tasks with a verifier"
                )
            return [judge], ""
        for judge in self._judges:
            identity = await asyncio.to_thread(judge.identity)
            if judge.name in names or _weights(identity) in weights:
                raise UsageError(
                    f"judge {judge.name!r} is a contestant or answers with a contestant's weights; "
                    "give another judge, or tasks with a verifier"
                )
        if not self._judges:
            raise UsageError("there is no judge, and not every task has a verifier")
        return self._judges, ""

    def _result(
        self,
        tasks: Sequence[EvaluationTask],
        trials: Sequence[Trial],
        identities: Sequence[AgentIdentity],
        contestants: tuple[Agent, Agent],
        judges: Sequence[Agent],
        note: str,
        mode: Mode,
        anytime: AnytimeTest,
        num_trials: int,
        started: float,
    ) -> ABTestResult:
        scores: dict[str, list[float]] = {}
        for trial in trials:
            if trial.score is not None:
                scores.setdefault(trial.task, []).append(trial.score)
        if not scores:
            raise UsageError(
                "no trial could be scored: every judge failed; see the log, or give another judge"
            )
        rates = win_rate(scores, level=1.0 - self._alpha)
        p_value = rates.p_value if mode == "fixed" else anytime.p_value
        flat = [value for values in scores.values() for value in values]
        draws = sum(value == 0.5 for value in flat) / len(flat)
        warning = "; ".join(part for part in (note, rates.warning) if part)
        return ABTestResult(
            id=new_id(),
            fine_tuned=contestants[0].name,
            baseline=contestants[1].name,
            identities=(identities[0], identities[1]),
            judges=tuple(judge.name for judge in judges),
            mode=mode,
            alpha=self._alpha,
            rates=rates,
            p_value=p_value,
            # What a partial judge says is reported, and nothing is claimed from it.
            is_significant=p_value <= self._alpha and not note,
            draws=draws,
            unscored=sum(trial.score is None for trial in trials),
            warning=warning,
            tasks_given=len(tasks),
            trials_per_task=num_trials,
            tasks_needed=_needed(rates.rate, num_trials, draws, self._alpha),
            trials=tuple(trials),
            texts={task.key: task.text for task in tasks},
            started_at=started,
            ended_at=time.time(),
        )


def _compared(values: tuple[float | None, float | None]) -> float | None:
    """1, 0 or 0.5 for the first against the second; None where one is unknown."""
    first, second = values
    if first is None or second is None:
        return None
    return 0.5 if first == second else float(first > second)


def _weights(identity: AgentIdentity) -> tuple[str, str | None, str | None]:
    """What two agents share when they answer with the same weights."""
    # A model by its path has no digest: its name tells it apart.
    adapter = identity.adapter_digest or identity.adapter
    return (identity.kind + identity.model, identity.base_digest, adapter)


def _needed(rate: float, trials: int, draws: float, alpha: float) -> int | None:
    """Tasks for a power of 80% if this rate is the truth; None when none would do."""
    if rate == 0.5:
        return None
    return tasks_needed(rate, trials, draws=draws, alpha=alpha, most=_MOST_TASKS)


def _listed(tasks: Sequence[Task], verifier: Verify | None) -> list[EvaluationTask]:
    """Different tasks with their checks; a task given twice is one."""
    found: dict[str, EvaluationTask] = {}
    for task in tasks:
        made = EvaluationTask(task) if isinstance(task, str) else task
        if not made.text.strip():
            raise UsageError("a task has no text")
        if made.verifier is None and made.answer:
            made = made.checked_by(KeyVerifier(made.answer))
        elif made.verifier is None and verifier is not None:
            made = made.checked_by(_as_verifier(verifier, made.text))
        found.setdefault(made.key, made)
    if not found:
        raise UsageError("give at least one task")
    return list(found.values())


def _as_verifier(verifier: Verify, text: str) -> Verifier:
    if not callable(verifier):
        return verifier
    from aragora.debate.environment import CheckVerifier

    check: Callable[[str, str], float] = verifier
    return CheckVerifier(lambda answer: check(text, answer))


def needed_trials(
    rate: float, *, trials_per_task: int = 10, draws: float = 0.0, alpha: float = 0.05
) -> Mapping[str, int | None]:
    """Tasks, and trials in all, for a power of 80% when the true win rate is `rate`.

    Raises ValueError for a rate or a share of draws that can't be.
    """
    tasks = tasks_needed(rate, trials_per_task, draws=draws, alpha=alpha, most=_MOST_TASKS)
    return {"tasks": tasks, "trials": None if tasks is None else tasks * trials_per_task}
