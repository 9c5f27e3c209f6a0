"""Stored rows of what debates show about agents: ratings, calibration, patterns, adapters."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from aragora.memory.table_base import DEBATE_ID, DIGEST, NAME, WORD, Base


class RatingRow(Base):
    """A rating as it stands now. `domain` "" is the overall one; `system` is elo or openskill."""

    __tablename__ = "ratings"

    agent: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    domain: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    system: Mapped[str] = mapped_column(String(WORD), primary_key=True)
    value: Mapped[float]
    sigma: Mapped[float | None]
    games: Mapped[int]
    wins: Mapped[int]
    draws: Mapped[int]
    losses: Mapped[int]
    updated_at: Mapped[float]


class RatingChangeRow(Base):
    """One step of a rating's history: which debate moved it, and with which adapter."""

    __tablename__ = "rating_changes"
    __table_args__ = (
        UniqueConstraint("debate_id", "agent", "domain", "system", name="rated_once"),
        Index("rating_changes_by_agent", "agent", "domain", "system", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    debate_id: Mapped[str] = mapped_column(String(DEBATE_ID))
    agent: Mapped[str] = mapped_column(String(NAME))
    adapter_digest: Mapped[str | None] = mapped_column(String(DIGEST))
    domain: Mapped[str] = mapped_column(String(NAME))
    system: Mapped[str] = mapped_column(String(WORD))
    before: Mapped[float]
    after: Mapped[float]
    sigma_before: Mapped[float | None]
    sigma_after: Mapped[float | None]
    score: Mapped[float]
    at: Mapped[float]


class CalibrationRow(Base):
    """A stated confidence and whether it came true. `basis`: `verifier` or `outcome`."""

    __tablename__ = "calibration"
    __table_args__ = (
        UniqueConstraint("message_id", "basis", name="observed_once"),
        Index("calibration_by_agent", "agent", "domain"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    debate_id: Mapped[str] = mapped_column(String(DEBATE_ID), index=True)
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id", ondelete="SET NULL"))
    agent: Mapped[str] = mapped_column(String(NAME))
    adapter_digest: Mapped[str | None] = mapped_column(String(DIGEST))
    domain: Mapped[str] = mapped_column(String(NAME))
    confidence: Mapped[float]
    is_right: Mapped[bool]
    basis: Mapped[str] = mapped_column(String(WORD))
    at: Mapped[float]


class PatternRow(Base):
    """An issue and the suggestion made for it, with how often that led to an improvement."""

    __tablename__ = "patterns"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    domain: Mapped[str] = mapped_column(String(NAME), index=True)
    issue: Mapped[str]
    suggestion: Mapped[str]
    uses: Mapped[int]
    successes: Mapped[int]
    first_at: Mapped[float]
    last_at: Mapped[float]


class PatternUseRow(Base):
    """One critique that used a pattern; deleting it takes its count back."""

    __tablename__ = "pattern_uses"

    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"), primary_key=True)
    pattern_id: Mapped[str] = mapped_column(ForeignKey("patterns.id"), index=True)
    debate_id: Mapped[str] = mapped_column(String(DEBATE_ID), index=True)
    succeeded: Mapped[bool]


class AgentEventRow(Base):
    """What happened to an agent's adapters: `admitted`, `refused`, `switched`."""

    __tablename__ = "agent_events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    agent: Mapped[str] = mapped_column(String(NAME), index=True)
    kind: Mapped[str] = mapped_column(String(WORD))
    adapter: Mapped[str]
    adapter_digest: Mapped[str | None] = mapped_column(String(DIGEST))
    before: Mapped[str | None]
    reason: Mapped[str]
    at: Mapped[float]
