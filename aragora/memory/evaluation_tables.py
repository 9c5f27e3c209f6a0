"""Stored rows of evaluations: A/B tests of agents with all their trials."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from aragora.memory.table_base import DEBATE_ID, DIGEST, NAME, WORD, Base, Json, JsonList


class EvaluationRow(Base):
    """One A/B test; `figures` is its result, `trials` every answer it rests on."""

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(String(DEBATE_ID), primary_key=True)
    kind: Mapped[str] = mapped_column(String(WORD))
    agent: Mapped[str] = mapped_column(String(NAME), index=True)
    adapter_digest: Mapped[str | None] = mapped_column(String(DIGEST), index=True)
    baseline: Mapped[str] = mapped_column(String(NAME))
    figures: Mapped[Json]
    texts: Mapped[Json]
    trials: Mapped[JsonList]
    at: Mapped[float]
