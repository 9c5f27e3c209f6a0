"""An agent made of a chat model: it builds prompts, asks, and reads what comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from aragora.agents.prompts import Prompt, Prompts, Style
from aragora.agents.reading import read_vote
from aragora.agents.records import AgentIdentity, Ballot, Candidate, Context, Quote, Reply
from aragora.memory.records import Role
from tinker_engine.recipes.chat_format import ChatMessage


@dataclass(frozen=True)
class Completion:
    """What a model gave: text, tokens, why it stopped ("stop" or "length"), cost in US dollars."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    stop_reason: str | None
    identity: AgentIdentity
    cost_usd: float = 0.0


class ChatAgent(ABC):
    """Base of agents that answer chat messages; subclasses say how a completion is made.

    Args:
        name: what ratings are kept under.
        role: the seat it takes.
        persona: system text of its own.
        temperature: used where a protocol doesn't set one.
        style: prompt style; None chooses by the model.
    """

    def __init__(
        self,
        name: str,
        *,
        role: Role = "proposer",
        persona: str = "",
        temperature: float = 0.7,
        style: Style = "full",
        quote_chars: int = 1200,
    ) -> None:
        self._name = name
        self._role: Role = role
        self.persona = persona
        self.temperature = temperature
        self._prompts = Prompts(style, persona=persona, quote_chars=quote_chars)

    @property
    def name(self) -> str:
        """The name that ratings are kept under."""
        return self._name

    @property
    def role(self) -> Role:
        """The seat it takes."""
        return self._role

    @abstractmethod
    def identity(self) -> AgentIdentity:
        """The model and adapter that would answer now."""

    @abstractmethod
    async def complete(
        self, messages: Sequence[ChatMessage], *, seed: int, temperature: float, max_tokens: int
    ) -> Completion:
        """One completion; raises whatever goes wrong."""

    async def respond(self, task: str, context: Context | None = None) -> Reply:
        """Answer the task, or revise one's answer."""
        context = context or Context()
        return await self._say(self._prompts.respond(task, context), context)

    async def critique(self, task: str, proposal: Quote, context: Context | None = None) -> Reply:
        """Say what is wrong with a proposal."""
        context = context or Context()
        return await self._say(self._prompts.critique(task, proposal, context), context)

    async def vote(
        self, task: str, candidates: Sequence[Candidate], context: Context | None = None
    ) -> Ballot:
        """A written vote: one JSON object with choice and confidence."""
        context = context or Context()
        reply = await self._say(self._prompts.vote(task, candidates, context), context)
        choice, confidence = read_vote(reply.text, [c.label for c in candidates])
        source = None if confidence is None else "stated"
        return Ballot(reply, choice, confidence, source, self._role)

    async def converse(self, messages: Sequence[ChatMessage], context: Context) -> Reply:
        """Answer chat messages as they are, after one's own persona (the gauntlet's door)."""
        own = [ChatMessage(role="system", content=self.persona)] if self.persona else []
        return await self._say(Prompt((*own, *messages)), context)

    async def _say(self, prompt: Prompt, context: Context) -> Reply:
        temperature = self.temperature if context.temperature is None else context.temperature
        done = await self.complete(
            prompt.messages,
            seed=context.seed,
            temperature=temperature,
            max_tokens=context.max_tokens,
        )
        return Reply(
            text=done.text,
            prompt=prompt.messages,
            identity=done.identity,
            prompt_tokens=done.prompt_tokens,
            completion_tokens=done.completion_tokens,
            stop_reason=done.stop_reason,
            cost_usd=done.cost_usd,
            seed=context.seed,
            temperature=temperature,
            neutralised=prompt.neutralised,
        )
