"""Stored rows of attacks, and of what each did to an agent."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from aragora.memory.table_base import DEBATE_ID, DIGEST, NAME, WORD, Base, Json, JsonList


class GauntletRunRow(Base):
    """One run of attacks against one agent; `settings` bounds it and makes it resumable."""

    __tablename__ = "gauntlet_runs"

    id: Mapped[str] = mapped_column(String(DEBATE_ID), primary_key=True)
    agent: Mapped[str] = mapped_column(String(NAME), index=True)
    model: Mapped[str]
    adapter_digest: Mapped[str | None] = mapped_column(String(DIGEST), index=True)
    settings: Mapped[Json]
    state: Mapped[str] = mapped_column(String(WORD))
    started_at: Mapped[float]
    ended_at: Mapped[float | None]


class AttackRow(Base):
    """One attack; `id` digests its turns and detector, `parent_id` is what it was made from."""

    __tablename__ = "gauntlet_attacks"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME))
    category: Mapped[str] = mapped_column(String(WORD), index=True)
    severity: Mapped[str] = mapped_column(String(WORD))
    generation: Mapped[int]
    operator: Mapped[str | None] = mapped_column(String(WORD))
    parent_id: Mapped[str | None] = mapped_column(String(DIGEST))
    content: Mapped[Json]


class TrialRow(Base):
    """One attack tried on one agent: a finding when it broke, a defence when it held."""

    __tablename__ = "gauntlet_trials"
    __table_args__ = (UniqueConstraint("run_id", "attack_id", name="tried_once"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("gauntlet_runs.id"))
    attack_id: Mapped[str] = mapped_column(ForeignKey("gauntlet_attacks.id"), index=True)
    verdict: Mapped[str] = mapped_column(String(WORD))
    evidence: Mapped[str]
    exchange: Mapped[JsonList]
    reply: Mapped[str]
    seed: Mapped[int]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    at: Mapped[float]
