"""Reading and writing rows, as frozen records that know nothing of the database."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from tinker_engine.errors import CheckpointError, NotFoundError
from tinker_engine.protocol.paths import CheckpointKind, CheckpointPath
from tinker_engine.runtime.callers import current_owner, owner_of_new
from tinker_engine.runtime.records import PrivacyPolicy, RunSpec
from tinker_engine.storage.database import Database
from tinker_engine.storage.tables import CheckpointRow, FutureRow, RunRow, SamplerRow, SessionRow

_OWNERS_KEPT = 100_000


@dataclass(frozen=True)
class RunRecord:
    """A run as stored."""

    id: str
    session_id: str
    model_seq_id: int
    base_model: str
    base_digest: str
    spec: RunSpec
    user_metadata: dict[str, Any] | None
    parent_path: str | None
    engine_id: str
    created_at: float
    last_request_at: float
    unloaded_at: float | None = None


@dataclass(frozen=True)
class FutureRecord:
    """A training request as stored; `state` is pending, done or failed."""

    id: str
    run_id: str | None
    kind: str
    payload_digest: str
    state: str
    engine_id: str
    created_at: float
    result: dict[str, Any] | None = None
    error: str | None = None
    category: str | None = None
    finished_at: float | None = None


@dataclass(frozen=True)
class CheckpointRecord:
    """A checkpoint as stored."""

    path: CheckpointPath
    digest: str
    size_bytes: int
    created_at: float
    user_metadata: dict[str, Any] | None = None
    expires_at: float | None = None
    is_public: bool = False


@dataclass(frozen=True)
class Page:
    """One page of a listing and how many items there are in all."""

    items: list[Any]
    total: int


class Store:
    """All database state of an engine.

    Everything belongs to a session and a session to an owner; what is another owner's is not found.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._owners: dict[str, str] = {}

    def owner(self, session_id: str) -> str | None:
        """The owner of a session; None for an unknown one. Known ones are remembered."""
        known = self._owners.get(session_id)
        if known is not None:
            return known
        with self._db.read() as db:
            found = db.scalar(select(SessionRow.owner).where(SessionRow.id == session_id))
        if found is not None:
            if len(self._owners) >= _OWNERS_KEPT:
                self._owners.clear()
            self._owners[session_id] = found
        return found

    def is_mine(self, session_id: str) -> bool:
        """Whether the current caller may reach a session and what belongs to it."""
        owner = current_owner()
        return owner is None or self.owner(session_id) == owner

    def disk_bytes(self, owner: str) -> int:
        """Bytes of an owner's checkpoints, as recorded when they were saved."""
        query = (
            select(func.sum(CheckpointRow.size_bytes))
            .join(RunRow, RunRow.id == CheckpointRow.run_id)
            .join(SessionRow, SessionRow.id == RunRow.session_id)
            .where(SessionRow.owner == owner)
        )
        with self._db.read() as db:
            return int(db.scalar(query) or 0)

    def add_session(
        self,
        session_id: str,
        *,
        sdk_version: str,
        display_name: str | None,
        user_metadata: Mapping[str, Any] | None,
    ) -> None:
        """Store a new session."""
        now = time.time()
        with self._db.write() as db:
            db.add(
                SessionRow(
                    id=session_id,
                    created_at=now,
                    last_seen_at=now,
                    sdk_version=sdk_version[:64],
                    display_name=display_name,
                    user_metadata=dict(user_metadata) if user_metadata else None,
                    owner=owner_of_new(),
                )
            )

    def session(self, session_id: str) -> SessionRow:
        """A session's row; raises NotFoundError."""
        with self._db.read() as db:
            row = db.get(SessionRow, session_id)
            if row is None or not self.is_mine(session_id):
                raise NotFoundError(f"session {session_id!r} does not exist on this server")
            db.expunge(row)
            return row

    def touch_sessions(self, seen: Mapping[str, float]) -> None:
        """Note when sessions were last heard of."""
        with self._db.write() as db:
            for session_id, at in seen.items():
                db.execute(
                    update(SessionRow).where(SessionRow.id == session_id).values(last_seen_at=at)
                )

    def finish_session(self, session_id: str, reason: str) -> None:
        """Mark a session finished; the first reason stays."""
        with self._db.write() as db:
            db.execute(
                update(SessionRow)
                .where(SessionRow.id == session_id, SessionRow.finished.is_(None))
                .values(finished=reason[:32], last_seen_at=time.time())
            )

    def list_sessions(self, limit: int, offset: int) -> list[str]:
        """Session ids, newest first."""
        with self._db.read() as db:
            query = _mine(select(SessionRow.id))
            query = query.order_by(SessionRow.created_at.desc(), SessionRow.id)
            return list(db.scalars(query.limit(limit).offset(offset)))

    def session_members(self, session_id: str) -> tuple[list[str], list[str]]:
        """Run ids and sampler ids of a session."""
        with self._db.read() as db:
            runs = db.scalars(
                select(RunRow.id).where(RunRow.session_id == session_id).order_by(RunRow.created_at)
            )
            samplers = db.scalars(
                select(SamplerRow.id)
                .where(SamplerRow.session_id == session_id)
                .order_by(SamplerRow.created_at)
            )
            return list(runs), list(samplers)

    def add_run(self, run: RunRecord) -> None:
        """Store a new run."""
        values = dataclasses.asdict(run)
        with self._db.write() as db:
            db.add(RunRow(**values))

    def has_run(self, run_id: str) -> bool:
        """Whether a run is known."""
        with self._db.read() as db:
            return db.get(RunRow, run_id) is not None

    def run(self, run_id: str) -> RunRecord:
        """A run; raises NotFoundError."""
        with self._db.read() as db:
            row = db.get(RunRow, run_id)
            if row is None or not self.is_mine(row.session_id):
                raise NotFoundError(f"run {run_id!r} does not exist on this server")
            return _run_record(row)

    def list_runs(self, limit: int, offset: int) -> Page:
        """Runs, newest first."""
        with self._db.read() as db:
            is_in = RunRow.session_id == SessionRow.id
            query = _mine(select(RunRow).join(SessionRow, is_in))
            query = query.order_by(RunRow.created_at.desc(), RunRow.id)
            rows = db.scalars(query.limit(limit).offset(offset))
            count = select(func.count()).select_from(RunRow).join(SessionRow, is_in)
            total = db.scalar(_mine(count)) or 0
            return Page([_run_record(row) for row in rows], total)

    def touch_runs(self, seen: Mapping[str, float], unloaded: Iterable[str] = ()) -> None:
        """Note when runs had their last request, and which were unloaded."""
        with self._db.write() as db:
            for run_id, at in seen.items():
                db.execute(update(RunRow).where(RunRow.id == run_id).values(last_request_at=at))
            for run_id in unloaded:
                db.execute(
                    update(RunRow).where(RunRow.id == run_id).values(unloaded_at=time.time())
                )

    def put_futures(self, records: Iterable[FutureRecord]) -> None:
        """Store or replace requests, all in one transaction."""
        with self._db.write() as db:
            for record in records:
                db.merge(FutureRow(**dataclasses.asdict(record)))

    def future(self, request_id: str) -> FutureRecord | None:
        """A request, if it was stored."""
        with self._db.read() as db:
            row = db.get(FutureRow, request_id)
            return None if row is None else _future_record(row)

    def put_checkpoint(self, record: CheckpointRecord) -> None:
        """Store a checkpoint, replacing one with the same path."""
        path = record.path
        with self._db.write() as db:
            db.execute(delete(CheckpointRow).where(*_is_path(path)))
            db.add(
                CheckpointRow(
                    run_id=path.run_id,
                    kind=path.kind,
                    name=path.name,
                    digest=record.digest,
                    size_bytes=record.size_bytes,
                    user_metadata=record.user_metadata,
                    created_at=record.created_at,
                    expires_at=record.expires_at,
                    is_public=record.is_public,
                )
            )

    def checkpoint(self, path: CheckpointPath) -> CheckpointRecord:
        """A checkpoint that has not expired; raises NotFoundError."""
        with self._db.read() as db:
            query = _mine(_with_owner(select(CheckpointRow)).where(*_is_path(path)))
            row = db.scalars(query).one_or_none()
            if row is None or (row.expires_at is not None and row.expires_at <= time.time()):
                raise NotFoundError(f"{path} does not exist on this server, or has expired")
            return _checkpoint_record(row)

    def list_checkpoints(
        self, run_id: str | None = None, limit: int | None = None, offset: int = 0
    ) -> Page:
        """Checkpoints that have not expired, newest first, of one run or of all."""
        now = time.time()
        live = (CheckpointRow.expires_at.is_(None)) | (CheckpointRow.expires_at > now)
        query = _mine(_with_owner(select(CheckpointRow)).where(live))
        count = _mine(_with_owner(select(func.count()).select_from(CheckpointRow)).where(live))
        if run_id is not None:
            query = query.where(CheckpointRow.run_id == run_id)
            count = count.where(CheckpointRow.run_id == run_id)
        query = query.order_by(CheckpointRow.created_at.desc(), CheckpointRow.id.desc())
        with self._db.read() as db:
            rows = db.scalars(query.limit(limit).offset(offset))
            return Page([_checkpoint_record(row) for row in rows], db.scalar(count) or 0)

    def expired_checkpoints(self) -> list[CheckpointPath]:
        """Paths whose time to live is over."""
        with self._db.read() as db:
            rows = db.scalars(select(CheckpointRow).where(CheckpointRow.expires_at <= time.time()))
            return [_checkpoint_record(row).path for row in rows]

    def set_expiry(self, path: CheckpointPath, expires_at: float | None) -> None:
        """Set or remove the time at which a checkpoint expires."""
        with self._db.write() as db:
            db.execute(update(CheckpointRow).where(*_is_path(path)).values(expires_at=expires_at))

    def set_public(self, path: CheckpointPath, *, is_public: bool) -> None:
        """Publish a checkpoint, or take that back."""
        with self._db.write() as db:
            db.execute(update(CheckpointRow).where(*_is_path(path)).values(is_public=is_public))

    def delete_checkpoint(self, path: CheckpointPath) -> None:
        """Forget a checkpoint."""
        with self._db.write() as db:
            db.execute(delete(CheckpointRow).where(*_is_path(path)))

    def add_sampler(
        self,
        sampler_id: str,
        *,
        session_id: str,
        base_model: str,
        model_path: str | None,
        run_id: str | None,
    ) -> None:
        """Store a sampling session; a second one with the same id changes nothing."""
        try:
            with self._db.write() as db:
                db.add(
                    SamplerRow(
                        id=sampler_id,
                        session_id=session_id,
                        run_id=run_id,
                        model_path=model_path,
                        base_model=base_model,
                        created_at=time.time(),
                    )
                )
        except IntegrityError as error:
            with self._db.read() as db:
                if db.get(SamplerRow, sampler_id) is None:
                    raise CheckpointError(f"session {session_id!r} does not exist") from error

    def set_sampler_clients(self, sampler_id: str, clients: int) -> None:
        """Note how many clients have joined a sampling session."""
        with self._db.write() as db:
            db.execute(
                update(SamplerRow).where(SamplerRow.id == sampler_id).values(clients=clients)
            )

    def sampler(self, sampler_id: str) -> SamplerRow:
        """A sampling session's row; raises NotFoundError."""
        with self._db.read() as db:
            row = db.get(SamplerRow, sampler_id)
            if row is None or not self.is_mine(row.session_id):
                raise NotFoundError(f"sampler {sampler_id!r} does not exist on this server")
            db.expunge(row)
            return row


_Query = TypeVar("_Query", bound=Select[Any])


def _with_owner(query: _Query) -> _Query:
    """A query over checkpoints, joined with the sessions that they belong to."""
    joined = query.join(RunRow, RunRow.id == CheckpointRow.run_id)
    return joined.join(SessionRow, SessionRow.id == RunRow.session_id)


def _mine(query: _Query) -> _Query:
    """A query that has sessions in it, without those of other owners."""
    owner = current_owner()
    return query if owner is None else query.where(SessionRow.owner == owner)


def _is_path(path: CheckpointPath) -> tuple[Any, Any, Any]:
    return (
        CheckpointRow.run_id == path.run_id,
        CheckpointRow.kind == path.kind,
        CheckpointRow.name == path.name,
    )


def _run_record(row: RunRow) -> RunRecord:
    values: dict[str, Any] = {
        field.name: getattr(row, field.name) for field in dataclasses.fields(RunRecord)
    }
    values["spec"] = spec_from_json(values["spec"])
    return RunRecord(**values)


def spec_from_json(content: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from its JSON form (`dataclasses.asdict`)."""
    values = dict(content)
    values["targets"] = tuple(values["targets"])
    if values.get("privacy") is not None:
        values["privacy"] = PrivacyPolicy(**values["privacy"])
    return RunSpec(**values)


def _future_record(row: FutureRow) -> FutureRecord:
    return FutureRecord(
        **{field.name: getattr(row, field.name) for field in dataclasses.fields(FutureRecord)}
    )


def _checkpoint_record(row: CheckpointRow) -> CheckpointRecord:
    return CheckpointRecord(
        path=CheckpointPath(row.run_id, cast(CheckpointKind, row.kind), row.name),
        digest=row.digest,
        size_bytes=row.size_bytes,
        created_at=row.created_at,
        user_metadata=row.user_metadata,
        expires_at=row.expires_at,
        is_public=row.is_public,
    )
