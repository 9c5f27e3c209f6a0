"""Alembic's script location for the catalogue."""
