"""An agent that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aragora.agents import AgentIdentity, Ballot, Candidate, Context, Quote, Reply


class Scripted:
    """A participant that does what a test says: the rules of debates need no model."""

    def __init__(
        self,
        name: str,
        answers: Sequence[str],
        *,
        vote: Callable[[Sequence[Candidate]], tuple[str | None, float | None]] | None = None,
        role: str = "proposer",
        delay_s: float = 0.0,
    ) -> None:
        self.name, self.role = name, role
        self.answers = list(answers)
        self.seen: list[Context] = []
        self.asked = 0
        self._vote = vote or (lambda candidates: (candidates[0].label, 0.9))
        self._delay_s = delay_s

    def identity(self) -> AgentIdentity:
        return AgentIdentity("scripted", "none")

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        assert context is not None
        self.seen.append(context)
        self.asked += 1
        await asyncio.sleep(self._delay_s)
        text = self.answers[min(len(self.seen), len(self.answers)) - 1]
        return Reply(text, prompt_tokens=10, completion_tokens=5)

    async def critique(self, task: str, proposal: Quote, context: Context | None = None) -> Reply:
        self.asked += 1
        return Reply('{"issue": "not shown", "suggestion": "show it"}', completion_tokens=5)

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        self.asked += 1
        choice, confidence = self._vote(candidates)
        return Ballot(Reply(f"{choice}"), choice, confidence, "stated")
