"""Stored rows of a debate: task, seats, everything said, votes and outcome.

A debate's id sorts by the time it began, so that pages of debates are ranges of ids.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from aragora.memory.table_base import DEBATE_ID, DIGEST, NAME, WORD, Base, Json, JsonList


class TaskRow(Base):
    """What was debated; `id` is the digest of text, context and domain. Holds no answer key."""

    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    text: Mapped[str]
    context: Mapped[str]
    domain: Mapped[str] = mapped_column(String(NAME), index=True)
    source: Mapped[str]
    created_at: Mapped[float]


class DebateRow(Base):
    """One debate. `split` says what it may be used for: `train`, `held_out` or `none`."""

    __tablename__ = "debates"
    __table_args__ = (
        Index("debates_by_domain", "domain", "id"),
        Index("debates_by_task", "task_id", "id"),
        Index("debates_by_state", "state", "id"),
    )

    id: Mapped[str] = mapped_column(String(DEBATE_ID), primary_key=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))
    domain: Mapped[str] = mapped_column(String(NAME))
    split: Mapped[str] = mapped_column(String(WORD))
    protocol_name: Mapped[str] = mapped_column(String(NAME))
    protocol_digest: Mapped[str] = mapped_column(String(DIGEST))
    protocol: Mapped[Json]
    seed: Mapped[int]
    state: Mapped[str] = mapped_column(String(WORD))
    error: Mapped[str | None]
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    cost_usd: Mapped[float]
    labels: Mapped[Json]


class ParticipantRow(Base):
    """One seat of a debate and who sat there, as it was when the debate began."""

    __tablename__ = "participants"
    __table_args__ = (Index("participants_by_agent", "agent", "debate_id"),)

    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"), primary_key=True)
    seat: Mapped[int] = mapped_column(primary_key=True)
    agent: Mapped[str] = mapped_column(String(NAME))
    kind: Mapped[str] = mapped_column(String(WORD))
    role: Mapped[str] = mapped_column(String(WORD))
    model: Mapped[str]
    base_digest: Mapped[str | None] = mapped_column(String(DIGEST))
    adapter: Mapped[str | None] = mapped_column(String(NAME))
    adapter_digest: Mapped[str | None] = mapped_column(String(DIGEST), index=True)
    elo_before: Mapped[float | None]
    domain_elo_before: Mapped[float | None]


class MessageRow(Base):
    """One thing said, or the failure to say it. `prompt` is what the model was really shown."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("debate_id", "round", "phase", "seat", "target", name="said_once"),
        Index("messages_by_prompt", "prompt_digest"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"))
    round: Mapped[int]
    phase: Mapped[str] = mapped_column(String(WORD))
    seat: Mapped[int]
    target: Mapped[int]
    status: Mapped[str] = mapped_column(String(WORD))
    error: Mapped[str | None]
    attempts: Mapped[int]
    prompt: Mapped[JsonList]
    prompt_digest: Mapped[str] = mapped_column(String(DIGEST))
    text: Mapped[str]
    text_chars: Mapped[int]
    answer: Mapped[str | None]
    answer_key: Mapped[str | None]
    confidence: Mapped[float | None]
    confidence_source: Mapped[str | None] = mapped_column(String(WORD))
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    stop_reason: Mapped[str | None] = mapped_column(String(WORD))
    cost_usd: Mapped[float]
    model: Mapped[str]
    adapter_digest: Mapped[str | None] = mapped_column(String(DIGEST))
    seed: Mapped[int]
    temperature: Mapped[float]
    max_tokens: Mapped[int]
    neutralised: Mapped[int]
    started_at: Mapped[float]
    latency_s: Mapped[float]


class RoundRow(Base):
    """How far apart the answers were after a round; `agreement` is the largest answer's share."""

    __tablename__ = "rounds"

    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    answers: Mapped[Json]
    agreement: Mapped[float]
    started_at: Mapped[float]
    ended_at: Mapped[float]


class CritiqueRow(Base):
    """A critique, what it was about, and what became of the proposal it was about."""

    __tablename__ = "critiques"
    __table_args__ = (Index("critiques_by_debate", "debate_id"),)

    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"))
    seat: Mapped[int]
    target_seat: Mapped[int]
    before_message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"))
    after_message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    issue: Mapped[str]
    suggestion: Mapped[str]
    score_before: Mapped[float | None]
    score_after: Mapped[float | None]
    basis: Mapped[str | None] = mapped_column(String(WORD))
    improved: Mapped[bool | None]


class VoteRow(Base):
    """One vote. `choice_seat` is None when it could not be counted, and `invalid` says why."""

    __tablename__ = "votes"
    __table_args__ = (Index("votes_by_debate", "debate_id"),)

    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"))
    round: Mapped[int]
    seat: Mapped[int]
    choice_seat: Mapped[int | None]
    confidence: Mapped[float | None]
    invalid: Mapped[str | None]


class OutcomeRow(Base):
    """How a debate ended; `is_reached` is False when no consensus came about."""

    __tablename__ = "outcomes"
    __table_args__ = (Index("outcomes_by_confidence", "confidence", "debate_id"),)

    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"), primary_key=True)
    consensus: Mapped[str] = mapped_column(String(WORD))
    is_reached: Mapped[bool]
    decided_by: Mapped[str] = mapped_column(String(WORD))
    winner_seat: Mapped[int | None]
    answer: Mapped[str | None]
    answer_key: Mapped[str | None]
    confidence: Mapped[float]
    agreement: Mapped[float]
    rounds: Mapped[int]
    stopped: Mapped[str] = mapped_column(String(WORD))


class StandingRow(Base):
    """Where each proposer ended: place 1 is best, equal places are ties; `score` in [0, 1]."""

    __tablename__ = "standings"

    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"), primary_key=True)
    seat: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int]
    score: Mapped[float]
    first_message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    final_message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))


class VerdictRow(Base):
    """What a verifier said of a message; `uses_key` marks verdicts from an answer key."""

    __tablename__ = "verdicts"
    __table_args__ = (UniqueConstraint("message_id", "verifier", name="one_verdict"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    debate_id: Mapped[str] = mapped_column(ForeignKey("debates.id"), index=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"))
    verifier: Mapped[str] = mapped_column(String(NAME))
    score: Mapped[float]
    uses_key: Mapped[bool]
    at: Mapped[float]
