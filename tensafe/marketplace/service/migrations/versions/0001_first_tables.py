"""Creators and their keys, packages and their versions, what was kept out; full-text search.

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

TABLES = (
    "creators", "creator_keys", "challenges", "uploads", "packages", "versions", "rejections",
)  # fmt: skip


def upgrade() -> None:
    """Create the first tables."""
    _creators()
    _versions()
    _search()


def _creators() -> None:
    op.create_table(
        "creators",
        sa.Column("handle", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(1024), nullable=False),
        sa.Column("organization", sa.String(1024), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "creator_keys",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("handle", sa.String(64), sa.ForeignKey("creators.handle"), nullable=False),
        sa.Column("ed25519", sa.String(), nullable=False),
        sa.Column("ml_dsa_65", sa.String(), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
    )
    op.create_index("ix_creator_keys_handle", "creator_keys", ["handle"])
    op.create_table(
        "challenges",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.Float(), nullable=False),
    )
    op.create_index("ix_challenges_expires_at", "challenges", ["expires_at"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column(
            "fingerprint",
            sa.String(64),
            sa.ForeignKey("creator_keys.fingerprint"),
            nullable=False,
        ),
        sa.Column("package_digest", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("is_taken", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_uploads_fingerprint", "uploads", ["fingerprint"])
    op.create_index("ix_uploads_begun_at", "uploads", ["begun_at"])


def _versions() -> None:
    op.create_table(
        "packages",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("handle", sa.String(64), sa.ForeignKey("creators.handle"), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_index("ix_packages_handle", "packages", ["handle"])
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(64), sa.ForeignKey("packages.name"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("handle", sa.String(64), sa.ForeignKey("creators.handle"), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("package_digest", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("domain", sa.String(1024), nullable=False),
        sa.Column("base", sa.String(1024), nullable=False),
        sa.Column("licence", sa.String(1024), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("epsilon", sa.Float(), nullable=True),
        sa.Column("published_at", sa.Float(), nullable=False),
        sa.Column("downloads", sa.Integer(), nullable=False),
        sa.Column("yanked", sa.String(1024), nullable=True),
        sa.Column("listing", sa.JSON(), nullable=False),
        sa.Column("skill_doc", sa.String(), nullable=False),
        sa.Column("report", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.UniqueConstraint("name", "number", name="versions_number_once"),
        sa.UniqueConstraint("package_digest", name="versions_digest_once"),
    )
    op.create_index("ix_versions_handle", "versions", ["handle"])
    op.create_index("versions_by_filter", "versions", ["domain", "base"])
    op.create_table(
        "rejections",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("package_digest", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("report", sa.String(), nullable=False),
    )
    op.create_index("ix_rejections_package_digest", "rejections", ["package_digest"])
    op.create_index("ix_rejections_fingerprint", "rejections", ["fingerprint"])


def _search() -> None:
    """An index of the words of versions, by their stems, kept by the database itself."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE INDEX versions_by_words ON versions USING gin (to_tsvector('english', words))"
        )
        return
    op.execute(
        "CREATE VIRTUAL TABLE version_words USING fts5("
        "words, content='versions', content_rowid='id', tokenize='porter unicode61')"
    )
    op.execute(
        "CREATE TRIGGER version_words_insert AFTER INSERT ON versions BEGIN "
        "INSERT INTO version_words(rowid, words) VALUES (new.id, new.words); END"
    )
    op.execute(
        "CREATE TRIGGER version_words_delete AFTER DELETE ON versions BEGIN "
        "INSERT INTO version_words(version_words, rowid, words) "
        "VALUES ('delete', old.id, old.words); END"
    )


def downgrade() -> None:
    """Drop them again."""
    if op.get_bind().dialect.name != "postgresql":
        op.execute("DROP TABLE version_words")
    for table in reversed(TABLES):
        op.drop_table(table)
