"""Settings of one marketplace service, as options and as `TENSAFE_MARKETPLACE_…` variables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tensafe.tgsp.keystore import tensafe_home

_MIB = 1024 * 1024


class MarketConfig(BaseSettings):
    """Where the service keeps things, who may publish, and how much of anything it takes.

    Rates are per client address, or per creator where they say so.
    """

    model_config = SettingsConfigDict(
        env_prefix="TENSAFE_MARKETPLACE_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    folder: Path = Field(
        default_factory=lambda: tensafe_home() / "marketplace-service",
        description="packages, and the database unless it has a URL",
    )
    database_url: str | None = Field(
        default=None, description="sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    )
    public_url: str | None = Field(
        default=None, description="how clients reach it; signed requests must name it"
    )
    registration: Literal["open", "closed"] = "open"
    max_package_bytes: int = Field(default=512 * _MIB, ge=1024)
    upload_timeout_s: float = Field(default=600.0, gt=0)
    challenge_lifetime_s: float = Field(default=300.0, gt=0)
    reads_per_minute: int = Field(default=600, ge=1)
    writes_per_minute: int = Field(default=60, ge=1)
    uploads_per_day: int = Field(default=200, ge=1, description="per creator")
    uploads_at_once: int = Field(default=4, ge=1)
    uploads_at_once_per_creator: int = Field(default=2, ge=1)

    @property
    def resolved_database_url(self) -> str:
        """The given database, else one in the folder."""
        return self.database_url or f"sqlite:///{self.folder / 'marketplace.db'}"
