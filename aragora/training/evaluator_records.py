"""What an evaluation is asked, and what it found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from aragora.agents.records import AgentIdentity
from aragora.debate.environment import Verifier
from aragora.memory.identity import digest_of
from aragora.memory.records import Evaluation
from aragora.training.ab_statistics import WinRate
from tensafe.evaluate.statistics import Interval


@dataclass(frozen=True)
class EvaluationTask:
    """One task; with an `answer` or a `verifier` it is scored by that, not by opinion."""

    text: str
    answer: str = ""
    verifier: Verifier | None = None
    domain: str = "general"

    @property
    def key(self) -> str:
        """Hex SHA-256 of what is asked: the same words are the same task."""
        return digest_of(self.text)

    def checked_by(self, verifier: Verifier) -> EvaluationTask:
        """The task with a verifier."""
        return replace(self, verifier=verifier)


@dataclass(frozen=True)
class Trial:
    """One trial; pairs are (fine-tuned, baseline).

    `score` is 1 when the fine-tuned agent won, 0 when the baseline did, 0.5 for a draw, None when
    nobody could tell. `right` are the verifier's scores, `tokens` prompt and completion together.
    """

    task: str
    number: int
    score: float | None
    decided_by: str
    answers: tuple[str | None, str | None]
    right: tuple[float | None, float | None]
    confidences: tuple[float | None, float | None]
    tokens: tuple[int, int]
    cost_usd: tuple[float, float]
    judge_tokens: int
    errors: tuple[str, str]
    seed: int


@dataclass(frozen=True)
class ABTestResult:
    """What an A/B test found.

    `p_value` is two-sided and over tasks; in anytime mode it holds at every look, the interval does
    not.
    `is_significant` is never True with a judge that shares a contestant's weights (`warning` says
    so). `tasks_needed` is how many tasks the fixed test needs for a power of 80% if the rate seen
    is the true one.
    """

    id: str
    fine_tuned: str
    baseline: str
    identities: tuple[AgentIdentity, AgentIdentity]
    judges: tuple[str, ...]
    mode: str
    alpha: float
    rates: WinRate
    p_value: float
    is_significant: bool
    draws: float
    unscored: int
    warning: str
    tasks_given: int
    trials_per_task: int
    tasks_needed: int | None
    trials: tuple[Trial, ...]
    texts: Mapping[str, str]
    started_at: float
    ended_at: float

    @property
    def fine_tuned_win_rate(self) -> float:
        """Mean over tasks of the fine-tuned agent's score; a draw is half."""
        return self.rates.rate

    @property
    def interval(self) -> Interval:
        """Of the win rate, at level 1 - alpha."""
        return self.rates.interval

    @property
    def effect(self) -> float:
        """Tasks won minus tasks lost, as a share."""
        return self.rates.effect

    @property
    def elo_gain(self) -> float:
        """The Elo difference that the win rate stands for; see `elo_of_rate`."""
        return elo_of_rate(self.rates.rate, self.rates.tasks)

    def accuracy(self, side: int) -> float | None:
        """Mean over tasks of the verifier's score of side 0 or 1; None without a verifier."""
        by_task: dict[str, list[float]] = {}
        for trial in self.trials:
            value = trial.right[side]
            if value is not None:
                by_task.setdefault(trial.task, []).append(value)
        if not by_task:
            return None
        return math.fsum(sum(v) / len(v) for v in by_task.values()) / len(by_task)

    def observations(self, side: int) -> list[tuple[float, bool]]:
        """Confidence against what the verifier said, of side 0 or 1."""
        return [
            (confidence, right >= 0.5)
            for trial in self.trials
            for confidence, right in [(trial.confidences[side], trial.right[side])]
            if confidence is not None and right is not None
        ]

    def figures(self) -> dict[str, Any]:
        """Everything but the trials, for machines."""
        return {
            "id": self.id,
            "fine_tuned": self.fine_tuned,
            "baseline": self.baseline,
            "identities": [asdict(i) for i in self.identities],
            "judges": list(self.judges),
            "mode": self.mode,
            "alpha": self.alpha,
            "fine_tuned_win_rate": self.fine_tuned_win_rate,
            "interval": [self.interval.low, self.interval.high],
            "effect": self.effect,
            "elo_gain": self.elo_gain,
            "p_value": self.p_value,
            "is_significant": self.is_significant,
            "method": self.rates.test.method,
            "tasks": self.rates.tasks,
            "tasks_given": self.tasks_given,
            "trials": self.rates.trials,
            "trials_per_task": self.trials_per_task,
            "draws": self.draws,
            "unscored": self.unscored,
            "tasks_needed": self.tasks_needed,
            "accuracy": [self.accuracy(0), self.accuracy(1)],
            "tokens": [sum(t.tokens[side] for t in self.trials) for side in (0, 1)],
            "judge_tokens": sum(t.judge_tokens for t in self.trials),
            "cost_usd": [math.fsum(t.cost_usd[side] for t in self.trials) for side in (0, 1)],
            "warning": self.warning,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }

    def as_stored(self) -> Evaluation:
        """The record of the database: figures, texts and trials."""
        return Evaluation(
            id=self.id,
            kind="ab_test",
            agent=self.fine_tuned,
            adapter_digest=self.identities[0].adapter_digest,
            baseline=self.baseline,
            figures=self.figures(),
            texts=dict(self.texts),
            trials=[asdict(t) for t in self.trials],
            at=self.ended_at,
        )


def elo_of_rate(rate: float, tasks: int) -> float:
    """400 log10(p / (1 - p)) (Elo 1978), with half a task won and half a task lost added.

    Without that a clean sweep would stand for an infinite difference.
    """
    smooth = (rate * tasks + 0.5) / (tasks + 1.0)
    return 400.0 * math.log10(smooth / (1.0 - smooth))
