"""One marketplace as its routes see it: settings, catalogue, packages, and its own name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tensafe.gate.load_records import LoadPolicy, RunningBase
from tensafe.marketplace.service.catalogue import Catalogue
from tensafe.marketplace.service.config import MarketConfig
from tensafe.marketplace.service.packages import Packages


@dataclass(frozen=True)
class Market:
    """An open marketplace. `audiences` are the URLs that a signed request may name."""

    config: MarketConfig
    catalogue: Catalogue
    packages: Packages
    public_url: str
    audiences: frozenset[str]

    @classmethod
    def open(
        cls,
        config: MarketConfig,
        bases: Sequence[RunningBase],
        url: str,
        policy: LoadPolicy | None = None,
    ) -> Self:
        """Open database and folder; `url` is where it listens, its name unless it has another.

        Raises:
            MarketplaceError: the database or the folder can't be used.
        """
        public = (config.public_url or url).rstrip("/")
        catalogue = Catalogue.open(config.resolved_database_url)
        packages = Packages(config.folder, catalogue, bases, policy or LoadPolicy())
        return cls(config, catalogue, packages, public, frozenset({public}))

    def close(self) -> None:
        """Close the database."""
        self.catalogue.close()
