"""Debates, standings, the gauntlet, whose data is held and what was made of it; full-text search.

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
    "tasks",
    "debates",
    "participants",
    "rounds",
    "messages",
    "critiques",
    "votes",
    "outcomes",
    "standings",
    "verdicts",
    "ratings",
    "rating_changes",
    "calibration",
    "patterns",
    "pattern_uses",
    "agent_events",
    "gauntlet_runs",
    "gauntlet_attacks",
    "gauntlet_trials",
    "subjects",
    "subject_debates",
    "deletions",
    "training_sets",
    "training_sources",
)


def upgrade() -> None:
    """Create the first tables."""
    _debates()
    _standings()
    _gauntlet()
    _usage()
    _search()


def _debates() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("context", sa.String(), nullable=False),
        sa.Column("domain", sa.String(length=128), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tasks_domain", "tasks", ["domain"])
    op.create_table(
        "debates",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=128), nullable=False),
        sa.Column("split", sa.String(length=32), nullable=False),
        sa.Column("protocol_name", sa.String(length=128), nullable=False),
        sa.Column("protocol_digest", sa.String(length=64), nullable=False),
        sa.Column("protocol", sa.JSON(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("debates_by_domain", "debates", ["domain", "id"])
    op.create_index("debates_by_state", "debates", ["state", "id"])
    op.create_index("debates_by_task", "debates", ["task_id", "id"])
    op.create_table(
        "participants",
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("seat", sa.Integer(), nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("base_digest", sa.String(length=64), nullable=True),
        sa.Column("adapter", sa.String(length=128), nullable=True),
        sa.Column("adapter_digest", sa.String(length=64), nullable=True),
        sa.Column("elo_before", sa.Double(), nullable=True),
        sa.Column("domain_elo_before", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.PrimaryKeyConstraint("debate_id", "seat"),
    )
    op.create_index("ix_participants_adapter_digest", "participants", ["adapter_digest"])
    op.create_index("participants_by_agent", "participants", ["agent", "debate_id"])
    op.create_table(
        "rounds",
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("agreement", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.PrimaryKeyConstraint("debate_id", "number"),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("seat", sa.Integer(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("prompt", sa.JSON(), nullable=False),
        sa.Column("prompt_digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("text_chars", sa.Integer(), nullable=False),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("answer_key", sa.String(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("confidence_source", sa.String(length=32), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("stop_reason", sa.String(length=32), nullable=True),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("adapter_digest", sa.String(length=64), nullable=True),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("neutralised", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("latency_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("debate_id", "round", "phase", "seat", "target", name="said_once"),
    )
    op.create_index("messages_by_prompt", "messages", ["prompt_digest"])
    op.create_table(
        "critiques",
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("seat", sa.Integer(), nullable=False),
        sa.Column("target_seat", sa.Integer(), nullable=False),
        sa.Column("before_message_id", sa.Integer(), nullable=False),
        sa.Column("after_message_id", sa.Integer(), nullable=True),
        sa.Column("issue", sa.String(), nullable=False),
        sa.Column("suggestion", sa.String(), nullable=False),
        sa.Column("score_before", sa.Double(), nullable=True),
        sa.Column("score_after", sa.Double(), nullable=True),
        sa.Column("basis", sa.String(length=32), nullable=True),
        sa.Column("improved", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(
            ["after_message_id"],
            ["messages.id"],
        ),
        sa.ForeignKeyConstraint(
            ["before_message_id"],
            ["messages.id"],
        ),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
        ),
        sa.PrimaryKeyConstraint("message_id"),
    )
    op.create_index("critiques_by_debate", "critiques", ["debate_id"])
    op.create_table(
        "votes",
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("seat", sa.Integer(), nullable=False),
        sa.Column("choice_seat", sa.Integer(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("invalid", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
        ),
        sa.PrimaryKeyConstraint("message_id"),
    )
    op.create_index("votes_by_debate", "votes", ["debate_id"])
    op.create_table(
        "outcomes",
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("consensus", sa.String(length=32), nullable=False),
        sa.Column("is_reached", sa.Boolean(), nullable=False),
        sa.Column("decided_by", sa.String(length=32), nullable=False),
        sa.Column("winner_seat", sa.Integer(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("answer_key", sa.String(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("agreement", sa.Double(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("stopped", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.PrimaryKeyConstraint("debate_id"),
    )
    op.create_index("outcomes_by_confidence", "outcomes", ["confidence", "debate_id"])
    op.create_table(
        "standings",
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("seat", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("first_message_id", sa.Integer(), nullable=True),
        sa.Column("final_message_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.ForeignKeyConstraint(
            ["final_message_id"],
            ["messages.id"],
        ),
        sa.ForeignKeyConstraint(
            ["first_message_id"],
            ["messages.id"],
        ),
        sa.PrimaryKeyConstraint("debate_id", "seat"),
    )
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("verifier", sa.String(length=128), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("uses_key", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["debate_id"],
            ["debates.id"],
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id", "verifier", name="one_verdict"),
    )
    op.create_index("ix_verdicts_debate_id", "verdicts", ["debate_id"])


def _standings() -> None:
    op.create_table(
        "ratings",
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("domain", sa.String(length=128), nullable=False),
        sa.Column("system", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("sigma", sa.Double(), nullable=True),
        sa.Column("games", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("draws", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("agent", "domain", "system"),
    )
    op.create_table(
        "rating_changes",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("adapter_digest", sa.String(length=64), nullable=True),
        sa.Column("domain", sa.String(length=128), nullable=False),
        sa.Column("system", sa.String(length=32), nullable=False),
        sa.Column("before", sa.Double(), nullable=False),
        sa.Column("after", sa.Double(), nullable=False),
        sa.Column("sigma_before", sa.Double(), nullable=True),
        sa.Column("sigma_after", sa.Double(), nullable=True),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("debate_id", "agent", "domain", "system", name="rated_once"),
    )
    op.create_index(
        "rating_changes_by_agent", "rating_changes", ["agent", "domain", "system", "id"]
    )
    op.create_table(
        "calibration",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("message_id", sa.Integer(), nullable=True),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("adapter_digest", sa.String(length=64), nullable=True),
        sa.Column("domain", sa.String(length=128), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("is_right", sa.Boolean(), nullable=False),
        sa.Column("basis", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id", "basis", name="observed_once"),
    )
    op.create_index("calibration_by_agent", "calibration", ["agent", "domain"])
    op.create_index("ix_calibration_debate_id", "calibration", ["debate_id"])
    op.create_table(
        "patterns",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("domain", sa.String(length=128), nullable=False),
        sa.Column("issue", sa.String(), nullable=False),
        sa.Column("suggestion", sa.String(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("successes", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_patterns_domain", "patterns", ["domain"])
    op.create_table(
        "pattern_uses",
        sa.Column("message_id", sa.Integer(), nullable=False),
        sa.Column("pattern_id", sa.String(length=64), nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
        ),
        sa.ForeignKeyConstraint(
            ["pattern_id"],
            ["patterns.id"],
        ),
        sa.PrimaryKeyConstraint("message_id"),
    )
    op.create_index("ix_pattern_uses_debate_id", "pattern_uses", ["debate_id"])
    op.create_index("ix_pattern_uses_pattern_id", "pattern_uses", ["pattern_id"])
    op.create_table(
        "agent_events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("adapter", sa.String(), nullable=False),
        sa.Column("adapter_digest", sa.String(length=64), nullable=True),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_agent_events_agent", "agent_events", ["agent"])


def _gauntlet() -> None:
    op.create_table(
        "gauntlet_runs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("agent", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("adapter_digest", sa.String(length=64), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_gauntlet_runs_adapter_digest", "gauntlet_runs", ["adapter_digest"])
    op.create_index("ix_gauntlet_runs_agent", "gauntlet_runs", ["agent"])
    op.create_table(
        "gauntlet_attacks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=False),
        sa.Column("severity", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("operator", sa.String(length=32), nullable=True),
        sa.Column("parent_id", sa.String(length=64), nullable=True),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_gauntlet_attacks_category", "gauntlet_attacks", ["category"])
    op.create_table(
        "gauntlet_trials",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("attack_id", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("evidence", sa.String(), nullable=False),
        sa.Column("exchange", sa.JSON(), nullable=False),
        sa.Column("reply", sa.String(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attack_id"],
            ["gauntlet_attacks.id"],
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["gauntlet_runs.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "attack_id", name="tried_once"),
    )
    op.create_index("ix_gauntlet_trials_attack_id", "gauntlet_trials", ["attack_id"])


def _usage() -> None:
    op.create_table(
        "subjects",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "subject_debates",
        sa.Column("subject_id", sa.String(length=64), nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["subjects.id"],
        ),
        sa.PrimaryKeyConstraint("subject_id", "debate_id"),
    )
    op.create_index("ix_subject_debates_debate_id", "subject_debates", ["debate_id"])
    op.create_table(
        "deletions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("subject_id", sa.String(length=64), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("debates", sa.Integer(), nullable=False),
        sa.Column("training_sets", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_deletions_subject_id", "deletions", ["subject_id"])
    op.create_table(
        "training_sets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "training_sources",
        sa.Column("training_set_id", sa.String(length=40), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("part", sa.String(length=32), nullable=False),
        sa.Column("record_kind", sa.String(length=32), nullable=False),
        sa.Column("record_id", sa.String(length=64), nullable=False),
        sa.Column("debate_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(
            ["training_set_id"],
            ["training_sets.id"],
        ),
        sa.PrimaryKeyConstraint("training_set_id", "row", "part"),
    )
    op.create_index("training_sources_by_debate", "training_sources", ["debate_id"])


def _search() -> None:
    """An index of the words of messages, kept by the database itself."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE INDEX messages_by_words ON messages USING gin (to_tsvector('simple', text))"
        )
        return
    op.execute(
        "CREATE VIRTUAL TABLE message_words "
        "USING fts5(text, content='messages', content_rowid='id')"
    )
    op.execute(
        "CREATE TRIGGER message_words_insert AFTER INSERT ON messages BEGIN "
        "INSERT INTO message_words(rowid, text) VALUES (new.id, new.text); END"
    )
    op.execute(
        "CREATE TRIGGER message_words_delete AFTER DELETE ON messages BEGIN "
        "INSERT INTO message_words(message_words, rowid, text) "
        "VALUES ('delete', old.id, old.text); END"
    )
    op.execute(
        "CREATE TRIGGER message_words_update AFTER UPDATE OF text ON messages BEGIN "
        "INSERT INTO message_words(message_words, rowid, text) "
        "VALUES ('delete', old.id, old.text); "
        "INSERT INTO message_words(rowid, text) VALUES (new.id, new.text); END"
    )


def downgrade() -> None:
    """Drop them again."""
    if op.get_bind().dialect.name != "postgresql":
        op.execute("DROP TABLE message_words")
    for table in reversed(TABLES):
        op.drop_table(table)
