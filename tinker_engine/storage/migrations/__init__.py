"""Numbered Alembic revisions of the engine's database."""
