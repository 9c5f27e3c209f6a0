"""Stored rows. Times are seconds since the epoch (UTC), JSON columns hold what the wire sent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = dict[str, Any]


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {Json: JSON, bytes: LargeBinary}  # noqa: RUF012


class SessionRow(Base):
    """One client session."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[float]
    last_seen_at: Mapped[float]
    finished: Mapped[str | None] = mapped_column(String(32))
    sdk_version: Mapped[str] = mapped_column(String(64))
    display_name: Mapped[str | None]
    user_metadata: Mapped[Json | None]
    owner: Mapped[str] = mapped_column(
        String(32), default="local", server_default="local", index=True
    )


class ApiKeyRow(Base):
    """One API key by its SHA-256; its id owns what requests with it make."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[float]
    last_used_at: Mapped[float | None]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    max_runs: Mapped[int | None]
    max_tokens_in_flight: Mapped[int | None] = mapped_column(BigInteger)
    max_disk_bytes: Mapped[int | None] = mapped_column(BigInteger)


class RunRow(Base):
    """One training run; `spec` is the RunSpec as JSON, `engine_id` the process that holds it."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(96), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    model_seq_id: Mapped[int]
    base_model: Mapped[str]
    base_digest: Mapped[str] = mapped_column(String(64))
    spec: Mapped[Json]
    user_metadata: Mapped[Json | None]
    parent_path: Mapped[str | None]
    engine_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    last_request_at: Mapped[float]
    unloaded_at: Mapped[float | None]


class FutureRow(Base):
    """One training request: what was asked for, by digest, and how it ended.

    Results that are large (logprobs of a batch) stay in memory; `result` holds the small ones.
    """

    __tablename__ = "futures"

    id: Mapped[str] = mapped_column(String(160), primary_key=True)
    run_id: Mapped[str | None] = mapped_column(String(96), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    payload_digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    result: Mapped[Json | None]
    error: Mapped[str | None]
    category: Mapped[str | None] = mapped_column(String(16))
    engine_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    finished_at: Mapped[float | None]


class CheckpointRow(Base):
    """One saved checkpoint; its files are in the run's folder under `kind`/`name`."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("run_id", "kind", "name", name="one_checkpoint_per_name"),
        Index("checkpoints_by_time", "created_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    user_metadata: Mapped[Json | None]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    is_public: Mapped[bool] = mapped_column(default=False, server_default=false())


class SamplerRow(Base):
    """One sampling session; `model_path` is None for the bare base and for unnamed snapshots.

    `clients` is how many further clients have joined it.
    """

    __tablename__ = "samplers"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"), index=True)
    run_id: Mapped[str | None] = mapped_column(String(96))
    model_path: Mapped[str | None]
    base_model: Mapped[str]
    created_at: Mapped[float]
    clients: Mapped[int] = mapped_column(default=0, server_default="0")
