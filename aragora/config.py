"""Where aragora keeps its things: one frozen configuration, from the environment or from code."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class AragoraConfig(BaseSettings):
    """Every field can be given as `ARAGORA_<FIELD>`; unknown fields are refused."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="ARAGORA_", env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=lambda: Path.home() / ".aragora",
        description="Folder of the database and of what agents may use.",
    )
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL; SQLite under the home by default."
    )

    @property
    def resolved_database_url(self) -> str:
        """The database that is used: the given URL, or SQLite under the home."""
        return self.database_url or f"sqlite:///{self.home / 'aragora.sqlite3'}"
