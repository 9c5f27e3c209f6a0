"""Alembic's folder: `env.py` and the numbered revisions of aragora's database."""
