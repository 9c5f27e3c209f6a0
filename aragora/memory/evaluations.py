"""Storing and reading evaluations."""

from __future__ import annotations

from sqlalchemy import select

from aragora.errors import NoSuchRecordError
from aragora.memory import tables
from aragora.memory.conversion import from_row, to_row
from aragora.memory.records import Evaluation
from tinker_engine.storage.database import Database


class EvaluationStore:
    """Evaluations in the database; safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, evaluation: Evaluation) -> None:
        """Store one; the same id again is an error of the caller."""
        with self._database.write() as session:
            session.add(to_row(evaluation, tables.EvaluationRow))

    def get(self, evaluation_id: str) -> Evaluation:
        """One evaluation; raises NoSuchRecordError."""
        with self._database.read() as session:
            row = session.get(tables.EvaluationRow, evaluation_id)
            if row is None:
                raise NoSuchRecordError(
                    f"there is no evaluation {evaluation_id!r} in this database"
                )
            return from_row(row, Evaluation)

    def of_agent(self, agent: str | None = None) -> list[Evaluation]:
        """Evaluations, oldest first; of all agents without a name."""
        query = select(tables.EvaluationRow).order_by(tables.EvaluationRow.id)
        if agent is not None:
            query = query.where(tables.EvaluationRow.agent == agent)
        with self._database.read() as session:
            return [from_row(row, Evaluation) for row in session.scalars(query)]
