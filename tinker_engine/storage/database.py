"""Opening the database: SQLite in WAL mode by default, any SQLAlchemy URL otherwise.

Alembic is imported only when the database is not at the current revision, because it would be a
third of the start-up time of an embedded engine.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from tinker_engine.errors import ServerUnavailableError, StorageError

HEAD_REVISION = "0006"
_BUSY_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Migrations:
    """The numbered revisions of one schema.

    `folder` is Alembic's script location, `head` its last revision, `lock` the PostgreSQL advisory
    lock that migrating takes. Each schema has a database of its own.
    """

    folder: Path
    head: str
    lock: int


ENGINE_MIGRATIONS = Migrations(Path(__file__).parent / "migrations", HEAD_REVISION, 7_214_411)


class Database:
    """Short transactions on one database; safe to use from several threads."""

    def __init__(self, url: str, migrations: Migrations = ENGINE_MIGRATIONS) -> None:
        self._engine = _open(url)
        self._migrations = migrations

    @contextmanager
    def read(self) -> Generator[Session]:
        """A transaction that only reads."""
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Generator[Session]:
        """A transaction that is committed at the end of the block.

        On SQLite it takes the write lock at once: a lock that is upgraded from reading to writing
        fails immediately when another process writes, instead of waiting for its turn. Raises
        StorageError when the database can't take the write, and then nothing was written.
        """
        try:
            with (
                self._engine.connect().execution_options(immediate=True) as connection,
                Session(connection) as session,
                session.begin(),
            ):
                yield session
        except OperationalError as error:
            raise StorageError(
                f"the database refused a write ({error.orig}); free disk space or see that it "
                "runs, and send this again"
            ) from error

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    def lock(self, session: Session, name: str) -> None:
        """Let no other `write` that takes the lock of this name run beside, until this one ends.

        On SQLite every `write` is alone in any case.
        """
        if self._engine.dialect.name == "postgresql":
            session.execute(
                text("SELECT pg_advisory_xact_lock(:schema, hashtext(:name))"),
                {"schema": self._migrations.lock, "name": name},
            )

    def clock(self, session: Session) -> float:
        """Seconds since the epoch by the clock that all users of this database share."""
        if self._engine.dialect.name == "postgresql":
            now = session.scalar(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
            return float(now or 0.0)
        return time.time()

    def migrate(self) -> None:
        """Bring the tables to the current revision; raises ServerUnavailableError if it can't."""
        try:
            if _revision(self._engine) != self._migrations.head:
                _upgrade(self._engine, self._migrations)
        except SQLAlchemyError as error:
            raise ServerUnavailableError(
                f"the database {self._engine.url!r} can't be opened: {error}"
            ) from error

    def empty_log(self, *, wait_s: float = 10.0) -> bool:
        """Bring SQLite's log of writes into its file and empty it: it holds what was deleted.

        False when somebody read the database for longer than `wait_s`, so that the log is still
        there; it goes when all have closed the database. PostgreSQL does this by itself.
        """
        if self._engine.dialect.name != "sqlite":
            return True
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as one:
            one.exec_driver_sql(f"PRAGMA busy_timeout={round(wait_s * 1000)}")
            try:
                is_busy, _, _ = one.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            finally:
                one.exec_driver_sql(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        return not is_busy

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _open(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise ServerUnavailableError(
            f"database_url is not an SQLAlchemy URL: {error}; expected sqlite:///FILE or "
            "postgresql://USER@HOST/DATABASE"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        return _open_remote(parsed)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(
        parsed,
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000},
        # Parameters are what users sent; they belong into no error message and no log.
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # SQLAlchemy begins transactions itself (below); the driver must not.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            # What was deleted is overwritten, not only unlinked.
            "secure_delete=ON",
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        is_write = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine


def _open_remote(url: URL) -> Engine:
    # SQLAlchemy's own default driver is psycopg2, which this project doesn't use.
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ServerUnavailableError(
            f"database_url needs {error.name}; for PostgreSQL: pip install 'aragora[postgres]'"
        ) from error
    except SQLAlchemyError as error:
        raise ServerUnavailableError(f"database_url can't be used: {error}") from error


def _revision(engine: Engine) -> str | None:
    if not inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: Engine, migrations: Migrations) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations.folder))
    # One process migrates; another that starts at the same moment waits and finds it done.
    with engine.connect().execution_options(immediate=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": migrations.lock})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
