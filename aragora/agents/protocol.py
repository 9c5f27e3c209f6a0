"""What a debate asks of an agent. Anything with these members can take a seat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aragora.agents.records import AgentIdentity, Ballot, Candidate, Context, Quote, Reply
from aragora.memory.records import Role


class Agent(Protocol):
    """A participant. Every coroutine may fail or hang: the arena sets deadlines and contains it.

    Failure contract: raise any exception for a turn that can't be made; give an empty text for
    nothing to say. Agents have no tools: a turn is text for text.
    """

    @property
    def name(self) -> str:
        """The name that ratings are kept under."""
        ...

    @property
    def role(self) -> Role:
        """The seat it takes: proposer, critic or judge."""
        ...

    def identity(self) -> AgentIdentity:
        """The model and adapter that would answer now."""
        ...

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        """Answer the task; with `context.own` set, revise that answer in view of the quotes."""
        ...

    async def critique(self, task: str, proposal: Quote, context: Context | None = None) -> Reply:
        """Say what is wrong with a proposal and what would mend it."""
        ...

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        """Choose one candidate and say how sure."""
        ...
