"""Stored rows of whose data debates hold, and which training sets used what."""

from __future__ import annotations

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from aragora.memory.table_base import DEBATE_ID, DIGEST, WORD, Base, Json, JsonList


class SubjectRow(Base):
    """A person whose data some debates hold, by a digest of the name they are known by."""

    __tablename__ = "subjects"

    id: Mapped[str] = mapped_column(String(DIGEST), primary_key=True)
    created_at: Mapped[float]
    deleted_at: Mapped[float | None]


class SubjectDebateRow(Base):
    """Which debates hold a person's data."""

    __tablename__ = "subject_debates"

    subject_id: Mapped[str] = mapped_column(ForeignKey("subjects.id"), primary_key=True)
    debate_id: Mapped[str] = mapped_column(String(DEBATE_ID), primary_key=True, index=True)


class DeletionRow(Base):
    """What remains of a deletion: when, how much, and which training sets had used it."""

    __tablename__ = "deletions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    subject_id: Mapped[str | None] = mapped_column(String(DIGEST), index=True)
    reason: Mapped[str]
    debates: Mapped[int]
    training_sets: Mapped[JsonList]
    at: Mapped[float]


class TrainingSetRow(Base):
    """An exported file: `digest` of its bytes, `kind` sft, dpo or gauntlet, its whole settings."""

    __tablename__ = "training_sets"

    id: Mapped[str] = mapped_column(String(DEBATE_ID), primary_key=True)
    kind: Mapped[str] = mapped_column(String(WORD))
    digest: Mapped[str] = mapped_column(String(DIGEST))
    rows: Mapped[int]
    settings: Mapped[Json]
    created_at: Mapped[float]


class TrainingSourceRow(Base):
    """Which record made a training row. `record_kind` is message, trial or pattern.

    The debate is named without a foreign key, so that the fact survives the debate's deletion.
    """

    __tablename__ = "training_sources"
    __table_args__ = (
        Index("training_sources_by_debate", "debate_id"),
        ForeignKeyConstraint(["training_set_id"], ["training_sets.id"]),
    )

    training_set_id: Mapped[str] = mapped_column(String(DEBATE_ID), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[str] = mapped_column(String(WORD), primary_key=True)
    record_kind: Mapped[str] = mapped_column(String(WORD))
    record_id: Mapped[str] = mapped_column(String(DIGEST))
    debate_id: Mapped[str | None] = mapped_column(String(DEBATE_ID))
