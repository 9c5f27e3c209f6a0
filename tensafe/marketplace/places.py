"""Where a marketplace is: a folder, an OCI registry or a service, and what all three can do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tensafe.errors import UsageError
from tensafe.marketplace.records import Listing, Published, Query
from tensafe.tgsp.keys import KeyPair
from tensafe.tgsp.keystore import tensafe_home
from tensafe.tgsp.verification import Verification

MARKETPLACE_VARIABLE = "TENSAFE_MARKETPLACE"
SignWith = Callable[[str], KeyPair]
"""Gives the key with a fingerprint, for marketplaces that want a proof that one holds it."""


class Marketplace(Protocol):
    """A place that keeps packages. Nothing that it answers is believed without verification."""

    @property
    def url(self) -> str:
        """How it is named on the command line."""
        ...

    def publish(self, package: Path, verified: Verification, sign_with: SignWith) -> Published:
        """Add an intact package; the same package again changes nothing.

        Raises:
            MarketplaceError: the name is another creator's, or the marketplace can't take it.
            GateRefusedError: the marketplace's own load gate said no.
        """
        ...

    def search(self, query: Query) -> list[Listing]:
        """Versions that match, each package once (its latest), best first; none withdrawn."""
        ...

    def find(self, reference: str) -> Listing:
        """The named version, or the latest that wasn't withdrawn.

        Raises:
            MarketplaceError: there is none.
            UsageError: the reference can't be read.
        """
        ...

    def skill_doc(self, listing: Listing) -> str:
        """Its skill document as the marketplace states it, empty when there is none."""
        ...

    def fetch(self, listing: Listing, target: Path) -> None:
        """Write the package's bytes into the empty file `target`, never more than its size.

        Raises:
            MarketplaceError: it can't be had.
            VerificationError: a digest on the way does not check out.
        """
        ...

    def yank(self, reference: str, reason: str, sign_with: SignWith) -> Listing:
        """Withdraw a version: it stays readable, and nobody is given it by default.

        Raises:
            MarketplaceError: there is no such version, or it is another creator's.
        """
        ...


def open_marketplace(place: str | Path | None = None) -> Marketplace:
    """The marketplace at `oci://HOST[/REPOSITORY]`, `http(s)://…` or a folder.

    Without a place it is the one in TENSAFE_MARKETPLACE, else the folder `marketplace` in the
    tensafe home.

    Raises:
        UsageError: the place is of no known kind.
    """
    named = str(place) if place else os.environ.get(MARKETPLACE_VARIABLE, "")
    if not named:
        named = str(tensafe_home() / "marketplace")
    try:
        parts = urlsplit(named)
    except ValueError as error:
        raise UsageError(f"the marketplace's URL can't be read: {error}") from error
    if "://" in named and (parts.username or parts.password):
        raise UsageError("a marketplace's URL holds no user and password: see docs/marketplace.md")
    if parts.scheme == "oci":
        from tensafe.marketplace.oci import OciMarketplace

        return OciMarketplace(named)
    if parts.scheme in ("http", "https"):
        from tensafe.marketplace.client import ServiceMarketplace

        return ServiceMarketplace(named)
    if "://" in named:
        raise UsageError(
            f"{parts.scheme}:// is no kind of marketplace: use oci://, https:// or a folder"
        )
    from tensafe.marketplace.folder import FolderMarketplace

    return FolderMarketplace(Path(named).expanduser())
