"""What passes between a debate and its agents: what they are shown, and what they give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from aragora.memory.records import Role
from tinker_engine.recipes.chat_format import ChatMessage

ConfidenceSource = Literal["stated", "likelihood"]


@dataclass(frozen=True)
class AgentIdentity:
    """Who answers: `model` is the base that is really served, digests are None where unknown."""

    kind: str
    model: str
    base_digest: str | None = None
    adapter: str | None = None
    adapter_digest: str | None = None


@dataclass(frozen=True)
class Quote:
    """Words of another participant, under the letter they go by in this debate."""

    label: str
    text: str
    kind: Literal["proposal", "critique"] = "proposal"


@dataclass(frozen=True)
class Candidate:
    """One answer that can be voted for: `answer` as read from the proposal, `text` in full."""

    label: str
    answer: str
    text: str


@dataclass(frozen=True)
class Context:
    """The setting of one turn.

    `quotes` are others' words, never the agent's own; `own` is its last answer. `stance` is an
    instruction of the protocol (devil's advocate). `temperature` None leaves the agent's own.
    """

    quotes: tuple[Quote, ...] = ()
    own: str = ""
    stance: str = ""
    seed: int = 0
    temperature: float | None = None
    max_tokens: int = 256


@dataclass(frozen=True)
class Reply:
    """What an agent said, with the prompt it was really shown; `str(reply)` is the text."""

    text: str
    prompt: tuple[ChatMessage, ...] = ()
    identity: AgentIdentity | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stop_reason: str | None = None
    cost_usd: float = 0.0
    seed: int = 0
    temperature: float = 0.0
    neutralised: int = 0
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Ballot:
    """A vote: the candidate's label and a confidence in [0, 1], both None when unreadable."""

    reply: Reply
    choice: str | None
    confidence: float | None
    source: ConfidenceSource | None
    role: Role = "proposer"
