"""The catalogue's database, opened and migrated, with its two halves: creators and versions."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from sqlalchemy import text

from tensafe.errors import MarketplaceError
from tensafe.marketplace.service.creators import Creators
from tensafe.marketplace.service.versions import Versions
from tinker_engine.errors import ServerUnavailableError
from tinker_engine.storage.database import Database, Migrations

MIGRATIONS = Migrations(Path(__file__).parent / "migrations", head="0001", lock=7_214_413)


class Catalogue:
    """An open database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.creators = Creators(database)
        self.versions = Versions(database)

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a database by SQLAlchemy URL and bring it up to date.

        Raises:
            MarketplaceError: it can't be opened.
        """
        try:
            database = Database(url, MIGRATIONS)
            database.migrate()
        except ServerUnavailableError as error:
            raise MarketplaceError(
                f"{error}; give another database with --database or "
                "TENSAFE_MARKETPLACE_DATABASE_URL"
            ) from error
        return cls(database)

    def check(self) -> None:
        """Ask the database for an answer, whatever it is."""
        with self.database.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
