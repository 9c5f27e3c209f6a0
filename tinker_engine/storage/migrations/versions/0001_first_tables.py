"""Sessions, runs, futures, checkpoints and samplers.

Revision ID: 0001
Revises: none
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("last_seen_at", sa.Float, nullable=False),
        sa.Column("finished", sa.String(32)),
        sa.Column("sdk_version", sa.String(64), nullable=False),
        sa.Column("display_name", sa.String),
        sa.Column("user_metadata", sa.JSON),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(96), primary_key=True),
        sa.Column(
            "session_id", sa.String(64), sa.ForeignKey("sessions.id"), nullable=False, index=True
        ),
        sa.Column("model_seq_id", sa.Integer, nullable=False),
        sa.Column("base_model", sa.String, nullable=False),
        sa.Column("base_digest", sa.String(64), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("user_metadata", sa.JSON),
        sa.Column("parent_path", sa.String),
        sa.Column("engine_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("last_request_at", sa.Float, nullable=False),
        sa.Column("unloaded_at", sa.Float),
    )
    op.create_table(
        "futures",
        sa.Column("id", sa.String(160), primary_key=True),
        sa.Column("run_id", sa.String(96), index=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("payload_digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.String),
        sa.Column("category", sa.String(16)),
        sa.Column("engine_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(96), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("user_metadata", sa.JSON),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.UniqueConstraint("run_id", "kind", "name", name="one_checkpoint_per_name"),
    )
    op.create_index("checkpoints_by_time", "checkpoints", ["created_at"])
    op.create_table(
        "samplers",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column(
            "session_id", sa.String(64), sa.ForeignKey("sessions.id"), nullable=False, index=True
        ),
        sa.Column("run_id", sa.String(96)),
        sa.Column("model_path", sa.String),
        sa.Column("base_model", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop them again."""
    for table in ("samplers", "checkpoints", "futures", "runs", "sessions"):
        op.drop_table(table)
