"""Stored rows of training jobs, their attempts and logs, and of the model registry."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from aragora.memory.table_base import DEBATE_ID, NAME, WORD, Base, Json, JsonList


class JobRow(Base):
    """A training job.

    `lease_token` and `lease_until` say who works on it and until when, unless renewed; both are
    empty while nobody does. `failures` counts attempts that failed or were lost.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_by_turn", "status", "priority", "created_at"),)

    id: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    kind: Mapped[str] = mapped_column(String(WORD))
    model: Mapped[str] = mapped_column(String(NAME))
    adapter_name: Mapped[str] = mapped_column(String(NAME))
    settings: Mapped[Json]
    status: Mapped[str] = mapped_column(String(WORD))
    priority: Mapped[int]
    created_at: Mapped[float]
    not_before: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    attempts: Mapped[int]
    failures: Mapped[int]
    max_failures: Mapped[int]
    cancel_requested: Mapped[bool]
    worker: Mapped[str] = mapped_column(String(NAME))
    lease_token: Mapped[str] = mapped_column(String(DEBATE_ID))
    lease_until: Mapped[float | None]
    progress: Mapped[Json]
    error: Mapped[str]
    result: Mapped[Json | None]


class JobDataRow(Base):
    """Records that a job trains on: given with it, or exported by its first attempt."""

    __tablename__ = "job_data"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    part: Mapped[str] = mapped_column(String(WORD), primary_key=True)
    records: Mapped[JsonList]


class JobAttemptRow(Base):
    """One worker's try: `outcome` is running, completed, failed, lost, cancelled or released."""

    __tablename__ = "job_attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(String(NAME))
    began_at: Mapped[float]
    ended_at: Mapped[float | None]
    outcome: Mapped[str] = mapped_column(String(WORD))
    reason: Mapped[str]


class JobEventRow(Base):
    """A line of a job's log; a change of state has `status`, the state it is in from then on."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    at: Mapped[float]
    attempt: Mapped[int]
    status: Mapped[str | None] = mapped_column(String(WORD))
    text: Mapped[str]


class RegisteredModelRow(Base):
    """A model of the registry; `document` as in the registry's file."""

    __tablename__ = "registered_models"

    model_id: Mapped[str] = mapped_column(String(NAME), primary_key=True)
    document: Mapped[Json]
