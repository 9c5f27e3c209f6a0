"""API keys, and which key a session belongs to.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; earlier sessions belong to the server's own key."""
    op.add_column(
        "sessions", sa.Column("owner", sa.String(32), nullable=False, server_default="local")
    )
    op.create_index("ix_sessions_owner", "sessions", ["owner"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("last_used_at", sa.Float),
        sa.Column("expires_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.Column("max_runs", sa.Integer),
        sa.Column("max_tokens_in_flight", sa.BigInteger),
        sa.Column("max_disk_bytes", sa.BigInteger),
    )


def downgrade() -> None:
    """Remove both."""
    op.drop_table("api_keys")
    op.drop_index("ix_sessions_owner", "sessions")
    op.drop_column("sessions", "owner")
