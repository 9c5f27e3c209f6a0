"""Whose data debates hold, which training sets used what, and removing it.

Deleting a debate removes its words, votes, verdicts and calibration, the records that training jobs
keep of it, and takes its patterns' counts back. Rating steps stay: they hold no words, and later
ratings were built on them. Which training sets had used the debate is told and kept, because they
and what was trained on them still exist.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, text, update
from sqlalchemy.orm import Session

from aragora.memory import tables
from aragora.memory.conversion import from_row, to_row
from aragora.memory.identity import subject_digest
from aragora.memory.records import Deletion, TrainingSet, TrainingSource
from tinker_engine.storage.database import Database

_log = logging.getLogger(__name__)

_BLOCK = 200
_SOURCES = 5000
# Children before parents.
_OF_A_DEBATE: tuple[Any, ...] = (
    tables.PatternUseRow,
    tables.CritiqueRow,
    tables.VoteRow,
    tables.StandingRow,
    tables.VerdictRow,
    tables.CalibrationRow,
    tables.OutcomeRow,
    tables.RoundRow,
    tables.MessageRow,
    tables.ParticipantRow,
    tables.SubjectDebateRow,
)


def link_subject(database: Database, session: Session, subject: str, debate_id: str) -> str:
    """Note within a write that a debate holds a person's data; gives the id they are kept under."""
    identity = subject_digest(subject)
    database.lock(session, f"subject {identity}")
    if session.get(tables.SubjectRow, identity) is None:
        session.add(tables.SubjectRow(id=identity, created_at=time.time(), deleted_at=None))
        session.flush()
    session.merge(tables.SubjectDebateRow(subject_id=identity, debate_id=debate_id))
    return identity


class UsageStore:
    """Subjects, deletions and training sets; safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def link(self, subject: str, debate_id: str) -> str:
        """Note that a debate holds a person's data; gives the id they are kept under."""
        with self._database.write() as session:
            return link_subject(self._database, session, subject, debate_id)

    def add_training_set(self, made: TrainingSet, sources: Iterable[TrainingSource]) -> None:
        """Store an exported file and which records its rows came from, all or nothing.

        Sources may be millions: they are taken one block after the other.
        """
        rows = iter(sources)
        with self._database.write() as session:
            session.merge(to_row(made, tables.TrainingSetRow))
            session.flush()
            table: Any = tables.TrainingSourceRow.__table__
            while block := [vars(source) for source in islice(rows, _SOURCES)]:
                session.connection().execute(insert(table), block)

    def training_sets_of(self, debate_ids: Sequence[str]) -> list[TrainingSet]:
        """The training sets that used any of the debates."""
        with self._database.read() as session:
            return _training_sets(session, debate_ids)

    def debates_of_subject(self, subject: str) -> list[str]:
        """The debates that hold a person's data."""
        with self._database.read() as session:
            return _of_subject(session, subject_digest(subject))

    def debates_before(self, moment: float) -> list[str]:
        """The debates that began before `moment`, in seconds since the epoch."""
        with self._database.read() as session:
            return _before(session, moment)

    def delete_subject(self, subject: str) -> Deletion:
        """Remove every debate that holds a person's data; lists the training sets that used one."""
        identity = subject_digest(subject)
        with self._deleting() as session:
            ids = _of_subject(session, identity)
            done = _delete(session, ids, identity, "asked for by subject")
            session.execute(
                update(tables.SubjectRow)
                .where(tables.SubjectRow.id == identity)
                .values(deleted_at=done.at)
            )
            return done

    def delete_debates(self, debate_ids: Sequence[str], reason: str) -> Deletion:
        """Remove debates by id."""
        with self._deleting() as session:
            return _delete(session, list(debate_ids), None, reason)

    def delete_before(self, moment: float) -> Deletion:
        """Retention: remove debates that began before `moment`, in seconds since the epoch."""
        with self._deleting() as session:
            return _delete(session, _before(session, moment), None, "retention")

    @contextmanager
    def _deleting(self) -> Generator[Session]:
        with self._database.write() as session:
            yield session
            if session.connection().dialect.name == "sqlite":
                # The index of words only marks what was deleted until its parts are merged.
                session.execute(
                    text("INSERT INTO message_words(message_words) VALUES ('optimize')")
                )
        if not self._database.empty_log():
            _log.warning(
                "%s: others read it, so that its log keeps the deleted words until all have closed "
                "it",
                self._database.name,
            )

    def deletions(self) -> list[Deletion]:
        """All deletions, oldest first."""
        with self._database.read() as session:
            rows = session.scalars(select(tables.DeletionRow).order_by(tables.DeletionRow.id))
            return [from_row(row, Deletion) for row in rows]


def _training_sets(session: Session, debate_ids: Sequence[str]) -> list[TrainingSet]:
    found: dict[str, TrainingSet] = {}
    for start in range(0, len(debate_ids), _BLOCK):
        block = debate_ids[start : start + _BLOCK]
        query = (
            select(tables.TrainingSetRow)
            .join(tables.TrainingSourceRow)
            .where(tables.TrainingSourceRow.debate_id.in_(block))
            .distinct()
        )
        for row in session.scalars(query):
            found[row.id] = from_row(row, TrainingSet)
    return sorted(found.values(), key=lambda made: made.id)


def _of_subject(session: Session, identity: str) -> list[str]:
    row = tables.SubjectDebateRow
    return list(session.scalars(select(row.debate_id).where(row.subject_id == identity)))


def _before(session: Session, moment: float) -> list[str]:
    row = tables.DebateRow
    return list(session.scalars(select(row.id).where(row.started_at < moment)))


def _delete(session: Session, ids: list[str], subject: str | None, reason: str) -> Deletion:
    used = [made.id for made in _training_sets(session, ids)]
    debates = 0
    for start in range(0, len(ids), _BLOCK):
        block = ids[start : start + _BLOCK]
        _take_back_patterns(session, tables.PatternUseRow.debate_id.in_(block))
        tasks = set(
            session.scalars(select(tables.DebateRow.task_id).where(tables.DebateRow.id.in_(block)))
        )
        for row_type in _OF_A_DEBATE:
            session.execute(delete(row_type).where(row_type.debate_id.in_(block)))
        gone = session.execute(
            delete(tables.DebateRow)
            .where(tables.DebateRow.id.in_(block))
            .returning(tables.DebateRow.id)
        )
        debates += len(gone.all())
        kept = select(tables.DebateRow.task_id).where(tables.DebateRow.task_id.in_(tasks))
        orphans = tasks - set(session.scalars(kept))
        session.execute(delete(tables.TaskRow).where(tables.TaskRow.id.in_(orphans)))
    if ids:
        # After the debates: a job that stores an export meanwhile holds their rows until then.
        _strip_jobs(session, set(ids))
    row = tables.DeletionRow(
        subject_id=subject, reason=reason, debates=debates, training_sets=used, at=time.time()
    )
    session.add(row)
    session.flush()
    return from_row(row, Deletion)


def _strip_jobs(session: Session, ids: set[str]) -> None:
    """Take records of deleted debates out of what training jobs keep, and tell it in their logs."""
    keys = select(tables.JobDataRow.job_id, tables.JobDataRow.part)
    for job_id, part in session.execute(keys).tuples().all():
        # One job's records at a time: together they may be more than memory holds.
        row = session.get_one(tables.JobDataRow, (job_id, part), with_for_update=True)
        kept = [record for record in row.records if not ids & debates_of(record)]
        gone = len(row.records) - len(kept)
        if gone:
            row.records = kept
            job = session.get_one(tables.JobRow, job_id)
            told = f"{gone} records of part {part} removed: their debates were deleted"
            session.add(
                tables.JobEventRow(
                    job_id=job_id, at=time.time(), attempt=job.attempts, status=None, text=told
                )
            )
        session.flush()
        session.expunge(row)


def without_deleted(session: Session, records: Sequence[Any]) -> list[Any]:
    """Exported records less those of debates that are gone; those that are there stay for now."""
    named = sorted(set().union(*map(debates_of, records)))
    there: set[str] = set()
    for start in range(0, len(named), _SOURCES):
        query = select(tables.DebateRow.id).where(
            tables.DebateRow.id.in_(named[start : start + _SOURCES])
        )
        there |= set(session.scalars(query.with_for_update(read=True)))
    return [record for record in records if debates_of(record) <= there]


def debates_of(record: Any) -> set[str]:
    """The debates that a training record's provenance names; none where it has no provenance."""
    provenance = record.get("provenance") if isinstance(record, dict) else None
    if not isinstance(provenance, dict):
        return set()
    texts = [said for said in provenance.get("texts") or () if isinstance(said, dict)]
    named = [provenance.get("debate_id"), *(provenance.get("uses") or ())]
    return {
        str(one) for one in (*named, *(said.get("debate_id") for said in texts)) if one is not None
    }


def _take_back_patterns(session: Session, which: ColumnElement[bool]) -> None:
    for use in session.scalars(select(tables.PatternUseRow).where(which)).all():
        pattern = session.get_one(tables.PatternRow, use.pattern_id)
        pattern.uses -= 1
        pattern.successes -= int(use.succeeded)
        session.delete(use)
        session.flush()
        if pattern.uses == 0:
            session.delete(pattern)
            session.flush()
