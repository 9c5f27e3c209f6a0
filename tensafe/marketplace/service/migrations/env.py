"""Alembic's entry point: the connection comes from `tinker_engine.storage.database`."""

from __future__ import annotations

from typing import Any

from alembic import context

from tensafe.marketplace.service.tables import Base

connection: Any = context.config.attributes.get("connection")
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
