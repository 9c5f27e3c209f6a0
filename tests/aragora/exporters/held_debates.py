"""Real debates by scripted agents who tell their prompts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scripted import Scripted

from aragora.agents import Ballot, Candidate, Context, Quote, Reply
from aragora.debate import Arena, Environment, load_protocol
from aragora.memory import Memory, StoredDebate
from aragora.memory.records import Rating


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


class Speaking(Scripted):
    """A scripted agent whose prompts are stored, and who can write a vote as JSON."""

    def __init__(self, name: str, answers: Sequence[str], *, written: str = "", **more: Any):
        super().__init__(name, answers, **more)
        self.written = written

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        assert context is not None
        reply = await super().respond(task, context)
        shown = "".join(quote.text for quote in context.quotes)
        asked = f"{context.stance}{shown}{task}" if shown or context.stance else task
        return replace(reply, prompt=(user(asked),))

    async def critique(self, task: str, proposal: Quote, context: Context | None = None) -> Reply:
        reply = await super().critique(task, proposal, context)
        return replace(reply, prompt=(user(f"{task}\n> {proposal.text}"),))

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        ballot = await super().vote(task, candidates, context)
        said = self.written or ballot.reply.text
        labels = " or ".join(candidate.label for candidate in candidates)
        reply = replace(ballot.reply, text=said, prompt=(user(f"{task} Choose {labels}."),))
        return replace(ballot, reply=reply)


def choosing(label: str, confidence: float = 0.9) -> Any:
    return lambda candidates: (label, confidence)


def hold(
    memory: Memory,
    question: str,
    answers: Sequence[Sequence[str]],
    *,
    winner: str = "A",
    confidence: float = 0.9,
    domain: str = "reading",
    split: str = "train",
    protocol: str = "judge",
    verifier: Any = None,
    subjects: tuple[str, ...] = (),
    others: Sequence[Any] = (),
    **changes: Any,
) -> StoredDebate:
    """One debate: each proposer's answers in turn, decided by a judge who picks a letter."""
    names = ("ann", "bob", "cem", "dan")
    agents: list[Any] = [Speaking(names[i], said) for i, said in enumerate(answers)]
    judge = Speaking("jo", ["-"], role="judge", vote=choosing(winner, confidence))
    settings = {"rounds": 1, "critique": False, "revise": False, "stop_when_agreed": 0.0}
    arena = Arena(
        Environment(
            question,
            domain=domain,
            split=split,
            verifier=verifier,
            subjects=subjects,  # pyright: ignore
        ),
        [*agents, *others, *([judge] if protocol == "judge" else [])],
        load_protocol(protocol, **{**settings, **changes}),
        memory=memory,
        seed=1,
    )
    return asyncio.run(arena.run()).stored


def rate(memory: Memory, domain: str = "", **values: float) -> None:
    """Set agents' Elo ratings."""
    now = time.time()
    ratings = [Rating(name, domain, "elo", value, updated_at=now) for name, value in values.items()]
    memory.standings.apply(ratings, [])


def words(row: dict[str, Any], part: str) -> str:
    return row[part][-1]["content"]
