"""The queue of training jobs in the database: who may work on what, and what became of it.

Workers of several processes and machines share it. A worker claims a job with a lease that it
renews; every later write names the lease's token and is refused (LeaseLostError) when the job went
to another worker meanwhile, so that a job ends once, whoever was slow. A lease that was not renewed
in time is taken back by whoever looks next. Times come from the database's clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aragora.errors import JobError, NoSuchRecordError
from aragora.memory.store import Memory
from aragora.memory.tables import JobAttemptRow, JobDataRow, JobEventRow, JobRow
from aragora.memory.usage import without_deleted
from aragora.training.job_records import (
    FOLLOWS,
    JobAttempt,
    JobEvent,
    JobSettings,
    JobStatus,
    TrainingJob,
)

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0


class LeaseLostError(JobError):
    """The job is no longer this worker's: stop, and leave it alone."""


@dataclass(frozen=True)
class Lease:
    """A claimed job and the right to write about it."""

    job: TrainingJob
    token: str
    attempt: int


@dataclass(frozen=True)
class QueueLimits:
    """Jobs that may run at a time, on all workers together and per base model; None is no limit."""

    running: int | None = None
    per_model: int | None = None


class JobQueue:
    """The jobs of one database; safe to use from several threads."""

    def __init__(
        self,
        memory: Memory,
        *,
        lease_s: float = 60.0,
        limits: QueueLimits | None = None,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self._database = memory.database
        self.lease_s = lease_s
        self._limits = limits or QueueLimits()
        self._first_retry_s = first_retry_s

    def add(
        self,
        job: TrainingJob,
        data: Mapping[str, Sequence[Any]] | None = None,
        *,
        text: str = "scheduled",
    ) -> TrainingJob:
        """Store a new job with its records by part; an id that exists is an error."""
        with self._database.write() as session:
            if session.get(JobRow, job.job_id) is not None:
                raise JobError(f"there is a job {job.job_id!r} already; choose another id")
            now = self._database.clock(session)
            row = JobRow(
                id=job.job_id,
                kind=job.kind,
                model=job.model,
                adapter_name=job.adapter_name,
                settings=job.settings.model_dump(mode="json"),
                status=job.status.value,
                priority=job.priority,
                created_at=job.created_at or now,
                not_before=job.not_before,
                started_at=job.started_at,
                finished_at=job.finished_at,
                attempts=job.attempts,
                failures=job.failures,
                max_failures=job.max_failures,
                cancel_requested=job.cancel_requested,
                worker="",
                lease_token="",
                lease_until=None,
                progress=job.progress,
                error=job.error,
                result=job.result,
            )
            session.add(row)
            session.flush()
            for part, records in (data or {}).items():
                session.add(JobDataRow(job_id=job.job_id, part=part, records=list(records)))
            _log(session, row, now, text, row.status)
            return _job(row)

    def get(self, job_id: str) -> TrainingJob:
        """One job; raises NoSuchRecordError."""
        with self._database.read() as session:
            return _job(_known(session, job_id))

    def jobs(self, status: JobStatus | None = None) -> list[TrainingJob]:
        """Jobs in the order they were scheduled."""
        query = select(JobRow).order_by(JobRow.created_at, JobRow.id)
        if status is not None:
            query = query.where(JobRow.status == status.value)
        with self._database.read() as session:
            return [_job(row) for row in session.scalars(query)]

    def attempts(self, job_id: str) -> list[JobAttempt]:
        """Every try, in order."""
        query = select(JobAttemptRow).where(JobAttemptRow.job_id == job_id)
        with self._database.read() as session:
            _known(session, job_id)
            return [
                JobAttempt(
                    r.job_id, r.number, r.worker, r.began_at, r.ended_at, r.outcome, r.reason
                )
                for r in session.scalars(query.order_by(JobAttemptRow.number))
            ]

    def events(self, job_id: str) -> list[JobEvent]:
        """The job's log, in order."""
        query = select(JobEventRow).where(JobEventRow.job_id == job_id).order_by(JobEventRow.id)
        with self._database.read() as session:
            _known(session, job_id)
            return [
                JobEvent(r.job_id, r.at, r.attempt, r.status and JobStatus(r.status), r.text)  # pyright: ignore[reportArgumentType]
                for r in session.scalars(query)
            ]

    def data(self, job_id: str, part: str) -> list[Any] | None:
        """Records of one part (`sft`, `dpo`, `gauntlet`); None when there are none yet."""
        with self._database.read() as session:
            row = session.get(JobDataRow, (job_id, part))
            return None if row is None else list(row.records)

    def keep_data(self, lease: Lease, part: str, records: Sequence[Any]) -> list[Any]:
        """Store what the first attempt exported, so that every later one trains on the same.

        Gives what was stored: records of debates that were deleted since the export are left out.
        """
        with self._database.write() as session:
            self._held(session, lease)
            kept = without_deleted(session, records)
            session.merge(JobDataRow(job_id=lease.job.job_id, part=part, records=kept))
            return kept

    def claim(self, worker: str) -> Lease | None:
        """The next job for a worker, or None; takes back leases that were not renewed."""
        if not self._has_work():
            return None
        with self._database.write() as session:
            now = self._database.clock(session)
            if self._limits != QueueLimits():
                self._database.lock(session, "jobs")
            self._take_back(session, now)
            row = self._next(session, now)
            if row is None:
                return None
            row.attempts += 1
            row.lease_token = secrets.token_hex(16)
            row.lease_until = now + self.lease_s
            row.worker = worker
            row.started_at = row.started_at or now
            session.add(
                JobAttemptRow(
                    job_id=row.id,
                    number=row.attempts,
                    worker=worker,
                    began_at=now,
                    ended_at=None,
                    outcome="running",
                    reason="",
                )
            )
            _become(session, row, now, JobStatus.RUNNING, f"begun by {worker}")
            return Lease(_job(row), row.lease_token, row.attempts)

    def renew(self, lease: Lease, progress: dict[str, Any] | None = None) -> bool:
        """Hold the job for another lease; says whether it shall be cancelled."""
        with self._database.write() as session:
            row = self._held(session, lease)
            row.lease_until = self._database.clock(session) + self.lease_s
            if progress is not None:
                row.progress = progress
            return row.cancel_requested

    def log(self, lease: Lease, text: str) -> None:
        """Add a line to the job's log."""
        with self._database.write() as session:
            row = self._held(session, lease)
            _log(session, row, self._database.clock(session), text, None)

    def complete(self, lease: Lease, result: dict[str, Any]) -> TrainingJob:
        """The job is done."""
        with self._database.write() as session:
            row = self._held(session, lease)
            row.result = result
            row.error = ""
            self._end(session, row, JobStatus.COMPLETED, "completed", "completed")
            return _job(row)

    def fail(self, lease: Lease, reason: str, *, may_retry: bool) -> TrainingJob:
        """The attempt failed; the job is tried again later if that may help and tries are left."""
        with self._database.write() as session:
            row = self._held(session, lease)
            row.failures += 1
            row.error = reason
            if row.cancel_requested:
                self._end(session, row, JobStatus.CANCELLED, "failed", reason)
            elif may_retry and row.failures < row.max_failures:
                wait_s = min(self._first_retry_s * 2 ** (row.failures - 1), LONGEST_RETRY_S)
                self._end(session, row, JobStatus.PENDING, "failed", reason, wait_s=wait_s)
            else:
                self._end(session, row, JobStatus.FAILED, "failed", reason)
            return _job(row)

    def release(self, lease: Lease, reason: str) -> TrainingJob:
        """Give a job back that this worker can't go on with; counts as no failure."""
        with self._database.write() as session:
            row = self._held(session, lease)
            after = JobStatus.CANCELLED if row.cancel_requested else JobStatus.PENDING
            self._end(session, row, after, "released", reason)
            return _job(row)

    def cancelled(self, lease: Lease) -> TrainingJob:
        """The worker has stopped because the job was to be cancelled."""
        with self._database.write() as session:
            row = self._held(session, lease)
            self._end(session, row, JobStatus.CANCELLED, "cancelled", "cancelled")
            return _job(row)

    def cancel(self, job_id: str) -> bool:
        """Cancel a job: at once when it waits, at its next step when it runs; False when over."""
        with self._database.write() as session:
            row = _known(session, job_id, for_update=True)
            status = JobStatus(row.status)
            if status.is_over:
                return False
            now = self._database.clock(session)
            if status is JobStatus.PENDING:
                row.cancel_requested = True
                _become(session, row, now, JobStatus.CANCELLED, "cancelled before it ran")
            elif not row.cancel_requested:
                row.cancel_requested = True
                _log(session, row, now, "to be cancelled", None)
            return True

    def _has_work(self) -> bool:
        """A look that takes no lock, so that idle workers disturb nobody."""
        with self._database.read() as session:
            now = self._database.clock(session)
            is_due = (JobRow.status == JobStatus.PENDING.value) & (JobRow.not_before <= now)
            is_late = (JobRow.status == JobStatus.RUNNING.value) & (JobRow.lease_until < now)
            return session.scalar(select(JobRow.id).where(is_due | is_late).limit(1)) is not None

    def _take_back(self, session: Session, now: float) -> None:
        late = (
            select(JobRow)
            .where(JobRow.status == JobStatus.RUNNING.value, JobRow.lease_until < now)
            .with_for_update(skip_locked=True)
        )
        for row in session.scalars(late).all():
            reason = f"{row.worker} gave no sign of life for {self.lease_s:g} s"
            row.failures += 1
            row.error = reason
            after = JobStatus.PENDING
            if row.cancel_requested:
                after = JobStatus.CANCELLED
            elif row.failures >= row.max_failures:
                after = JobStatus.FAILED
            # By the same clock reading as the claim, which may take the job at once.
            self._end(session, row, after, "lost", reason, now=now)

    def _next(self, session: Session, now: float) -> JobRow | None:
        query = select(JobRow).where(
            JobRow.status == JobStatus.PENDING.value, JobRow.not_before <= now
        )
        limits = self._limits
        if limits != QueueLimits():
            counted = (
                select(JobRow.model, func.count())
                .where(JobRow.status == JobStatus.RUNNING.value)
                .group_by(JobRow.model)
            )
            running: dict[str, int] = dict(session.execute(counted).tuples().all())
            if limits.running is not None and sum(running.values()) >= limits.running:
                return None
            if limits.per_model is not None:
                full = [model for model, count in running.items() if count >= limits.per_model]
                query = query.where(JobRow.model.not_in(full))
        turn = query.order_by(JobRow.priority.desc(), JobRow.created_at, JobRow.id).limit(1)
        return session.scalar(turn.with_for_update(skip_locked=True))

    def _held(self, session: Session, lease: Lease) -> JobRow:
        row = _known(session, lease.job.job_id, for_update=True)
        if row.status != JobStatus.RUNNING.value or row.lease_token != lease.token:
            raise LeaseLostError(
                f"job {row.id!r} is {row.status} and no longer with attempt {lease.attempt}"
            )
        return row

    def _end(
        self,
        session: Session,
        row: JobRow,
        status: JobStatus,
        outcome: str,
        reason: str,
        *,
        wait_s: float = 0.0,
        now: float | None = None,
    ) -> None:
        """Close the running attempt and bring the job into the state that follows."""
        now = self._database.clock(session) if now is None else now
        attempt = session.get_one(JobAttemptRow, (row.id, row.attempts))
        attempt.ended_at, attempt.outcome, attempt.reason = now, outcome, reason
        row.worker, row.lease_token, row.lease_until = "", "", None
        row.not_before = now + wait_s
        text = reason
        if status is JobStatus.PENDING and outcome != "released":
            text += f"; try {row.failures + 1} of {row.max_failures} in {wait_s:g} s"
        _become(session, row, now, status, text)


def _become(session: Session, row: JobRow, now: float, status: JobStatus, text: str) -> None:
    if status not in FOLLOWS[JobStatus(row.status)]:
        raise JobError(f"job {row.id!r} is {row.status} and can't become {status.value}")
    row.status = status.value
    if status.is_over:
        row.finished_at = now
    _log(session, row, now, text, status.value)


def _log(session: Session, row: JobRow, now: float, text: str, status: str | None) -> None:
    session.add(JobEventRow(job_id=row.id, at=now, attempt=row.attempts, status=status, text=text))


def _known(session: Session, job_id: str, *, for_update: bool = False) -> JobRow:
    row = session.get(JobRow, job_id, with_for_update=for_update or None)
    if row is None:
        newest: Sequence[str] = session.scalars(
            select(JobRow.id).order_by(JobRow.created_at.desc()).limit(5)
        ).all()
        raise NoSuchRecordError(
            f"there is no job {job_id!r}; the newest are {', '.join(newest) or 'none'}"
        )
    return row


def _job(row: JobRow) -> TrainingJob:
    return TrainingJob(
        job_id=row.id,
        kind=row.kind,  # pyright: ignore[reportArgumentType]
        model=row.model,
        adapter_name=row.adapter_name,
        settings=JobSettings.model_validate(row.settings),
        status=JobStatus(row.status),
        priority=row.priority,
        created_at=row.created_at,
        not_before=row.not_before,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        failures=row.failures,
        max_failures=row.max_failures,
        cancel_requested=row.cancel_requested,
        worker=row.worker,
        progress=dict(row.progress),
        error=row.error,
        result=row.result,
    )
