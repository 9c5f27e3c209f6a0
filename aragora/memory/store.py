"""The one database of aragora: opened, migrated, and offered room by room."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from aragora.config import AragoraConfig
from aragora.errors import MemoryStoreError
from aragora.memory.debates import DebateStore
from aragora.memory.evaluations import EvaluationStore
from aragora.memory.gauntlet import GauntletStore
from aragora.memory.standings import StandingStore
from aragora.memory.usage import UsageStore
from tinker_engine.errors import ServerUnavailableError
from tinker_engine.storage.database import Database, Migrations

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", head="0003", lock=7_214_412)


class Memory:
    """An open database: `debates`, `standings`, `gauntlet` and `usage` are its rooms."""

    def __init__(self, database: Database, url: str) -> None:
        self.url = url
        self.database = database
        self.debates = DebateStore(database)
        self.standings = StandingStore(database)
        self.gauntlet = GauntletStore(database)
        self.evaluations = EvaluationStore(database)
        self.usage = UsageStore(database)

    @classmethod
    def open(cls, url: str | None = None) -> Self:
        """Open (and bring up to date) a database by SQLAlchemy URL or SQLite file name.

        Raises MemoryStoreError that names the URL when it can't be opened.
        """
        given = url or AragoraConfig().resolved_database_url
        if "://" not in given:
            given = f"sqlite:///{given}"
        try:
            database = Database(given, MIGRATIONS)
            database.migrate()
        except (ServerUnavailableError, ImportError) as error:
            raise MemoryStoreError(
                f"{error}; give another database with --database or ARAGORA_DATABASE_URL"
            ) from error
        return cls(database, given)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
