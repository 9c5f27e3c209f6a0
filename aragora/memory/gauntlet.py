"""Storing and reading gauntlet runs: attacks, and what each did to an agent."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select, tuple_, update

from aragora.errors import NoSuchRecordError
from aragora.memory import tables
from aragora.memory.conversion import from_row, to_row
from aragora.memory.records import GauntletRun, StoredAttack, Trial
from tinker_engine.storage.database import Database

_PAGE = 500


class GauntletStore:
    """Runs, attacks and trials; safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, run: GauntletRun) -> None:
        """Store a run that starts now."""
        with self._database.write() as session:
            session.add(to_row(run, tables.GauntletRunRow))

    def end(self, run_id: str, state: str, at: float) -> None:
        """Set how a run ended."""
        with self._database.write() as session:
            session.execute(
                update(tables.GauntletRunRow)
                .where(tables.GauntletRunRow.id == run_id)
                .values(state=state, ended_at=at)
            )

    def run(self, run_id: str) -> GauntletRun:
        """One run; raises NoSuchRecordError."""
        with self._database.read() as session:
            row = session.get(tables.GauntletRunRow, run_id)
            if row is None:
                raise NoSuchRecordError(f"there is no gauntlet run {run_id!r} in this database")
            return from_row(row, GauntletRun)

    def runs(self, agent: str | None = None) -> list[GauntletRun]:
        """Runs, oldest first."""
        query = select(tables.GauntletRunRow).order_by(tables.GauntletRunRow.id)
        if agent is not None:
            query = query.where(tables.GauntletRunRow.agent == agent)
        with self._database.read() as session:
            return [from_row(row, GauntletRun) for row in session.scalars(query)]

    def add_trial(self, attack: StoredAttack, trial: Trial) -> None:
        """Store a trial with its attack, all or nothing; a trial stored before stays."""
        with self._database.write() as session:
            self._database.lock(session, f"attack {attack.id}")
            if session.get(tables.AttackRow, attack.id) is None:
                session.add(to_row(attack, tables.AttackRow))
                session.flush()
            known = select(tables.TrialRow.id).where(
                tables.TrialRow.run_id == trial.run_id,
                tables.TrialRow.attack_id == trial.attack_id,
            )
            if session.scalar(known) is None:
                session.add(to_row(trial, tables.TrialRow))

    def trials(self, run_id: str) -> list[tuple[StoredAttack, Trial]]:
        """A run's trials with their attacks, in the order they were made."""
        query = (
            select(tables.AttackRow, tables.TrialRow)
            .join(tables.TrialRow, tables.TrialRow.attack_id == tables.AttackRow.id)
            .where(tables.TrialRow.run_id == run_id)
            .order_by(tables.TrialRow.id)
        )
        with self._database.read() as session:
            return [
                (from_row(attack, StoredAttack), from_row(trial, Trial))
                for attack, trial in session.execute(query)
            ]

    def iterate_trials(self, *, after: str = "") -> Iterator[tuple[StoredAttack, Trial, str]]:
        """Trials of all runs with attack and agent, by attack id, a page at a time.

        `after` is the id of the attack behind which to begin.
        """
        attack, trial, run = tables.AttackRow, tables.TrialRow, tables.GauntletRunRow
        base = (
            select(attack, trial, run.agent)
            .join(trial, trial.attack_id == attack.id)
            .join(run, run.id == trial.run_id)
            .where(attack.id > after)
            .order_by(attack.id, trial.id)
            .limit(_PAGE)
        )
        query = base
        while True:
            with self._database.read() as session:
                page = [
                    (from_row(a, StoredAttack), from_row(t, Trial), agent)
                    for a, t, agent in session.execute(query)
                ]
            yield from page
            if len(page) < _PAGE:
                return
            query = base.where(tuple_(attack.id, trial.id) > (page[-1][0].id, page[-1][1].id))
