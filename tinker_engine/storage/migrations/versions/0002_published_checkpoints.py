"""Whether a checkpoint is published.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; checkpoints saved before are not published."""
    op.add_column(
        "checkpoints",
        sa.Column("is_public", sa.Boolean, nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("checkpoints", "is_public")
