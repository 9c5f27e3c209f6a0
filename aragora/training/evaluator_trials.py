"""One agent's answer to a task, and one judge's word on two answers; failures are data."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aragora.agents.protocol import Agent
from aragora.agents.reading import read_answer
from aragora.agents.records import Candidate, Context
from aragora.debate.environment import Verifier
from aragora.memory.identity import answer_key
from aragora.training.evaluator_records import EvaluationTask

logger = logging.getLogger(__name__)

LABELS = ("A", "B")


@dataclass(frozen=True)
class Answered:
    """An answer; None with the reason in `error`. `confidence` is the agent's in its own answer."""

    text: str
    answer: str | None
    confidence: float | None
    tokens: int
    cost_usd: float
    error: str

    @property
    def key(self) -> str:
        """Normal form under which two answers are the same."""
        return answer_key(self.answer or "")


@dataclass(frozen=True)
class Winner:
    """A judge's word: 1 for the first answer, 0 for the second, 0.5 undecided, None unheard."""

    score: float | None
    tokens: int


async def answer_task(
    agent: Agent,
    task: EvaluationTask,
    *,
    seed: int,
    temperature: float | None,
    max_tokens: int,
    deadline_s: float,
    with_confidence: bool,
) -> Answered:
    """Ask once; whatever goes wrong is an answer that wasn't given."""
    context = Context(seed=seed, temperature=temperature, max_tokens=max_tokens)
    try:
        reply = await asyncio.wait_for(agent.respond(task.text, context), deadline_s)
    except TimeoutError:
        return Answered("", None, None, 0, 0.0, f"no answer within {deadline_s:g} s")
    # An agent may fail in any way; the test goes on and counts it.
    except Exception as error:
        logger.exception("agent %s failed on a task", agent.name)
        return Answered("", None, None, 0, 0.0, f"{type(error).__name__}: {error}"[:300])
    answer = read_answer(reply.text)
    tokens, cost = reply.prompt_tokens + reply.completion_tokens, reply.cost_usd
    if answer is None:
        return Answered(reply.text, None, None, tokens, cost, "an empty answer")
    confidence: float | None = None
    if with_confidence:
        try:
            ballot = await asyncio.wait_for(
                agent.vote(task.text, [Candidate(LABELS[0], answer, reply.text)], context),
                deadline_s,
            )
            confidence = ballot.confidence
            tokens += ballot.reply.prompt_tokens + ballot.reply.completion_tokens
            cost += ballot.reply.cost_usd
        # A confidence is a figure beside the test; without it the test goes on.
        except Exception:
            logger.exception("agent %s could not tell its confidence", agent.name)
    return Answered(reply.text, answer, confidence, tokens, cost, "")


def verified(verifier: Verifier, answered: Answered) -> float | None:
    """The verifier's score; 0 for no answer, None where the answer could not be checked."""
    if answered.answer is None:
        return 0.0
    try:
        score = float(verifier.score(answered.answer))
    # A verifier is the user's own code: its failure says nothing of the answer.
    except Exception:
        logger.exception("verifier %s failed", verifier.name)
        return None
    return score if 0.0 <= score <= 1.0 else None


async def judged_winner(
    judge: Agent,
    task: EvaluationTask,
    first: Answered,
    second: Answered,
    *,
    seed: int,
    deadline_s: float,
) -> Winner:
    """One judge's word, asked in both orders; what changes with the order is undecided."""
    said: list[float] = []
    tokens = 0
    for is_swapped in (False, True):
        shown = (second, first) if is_swapped else (first, second)
        candidates = [
            Candidate(label, one.answer or "", one.text)
            for label, one in zip(LABELS, shown, strict=True)
        ]
        try:
            ballot = await asyncio.wait_for(
                judge.vote(task.text, candidates, Context(seed=seed, temperature=0.0)), deadline_s
            )
        # A judge may fail in any way; its word is missing then.
        except Exception:
            logger.exception("judge %s failed", judge.name)
            continue
        tokens += ballot.reply.prompt_tokens + ballot.reply.completion_tokens
        if ballot.choice in LABELS:
            is_first_shown = ballot.choice == LABELS[0]
            said.append(float(is_first_shown != is_swapped))
    if not said:
        return Winner(None, tokens)
    if len(said) < 2 or said[0] != said[1]:
        return Winner(0.5, tokens)
    return Winner(said[0], tokens)
