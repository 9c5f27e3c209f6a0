"""A marketplace in a folder: for one machine, or a share that a group can write to.

`NAME/N.tgsp` is version N of a package and `NAME/N.json` its listing and skill document. A
version is written once; a name belongs to the key that published it first. There is no server, so
nothing but the folder's own permissions keeps others from changing it: `pull` verifies.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

from tensafe.errors import DataError, MarketplaceError
from tensafe.files import atomic_path, locked, write_json
from tensafe.marketplace.places import SignWith
from tensafe.marketplace.records import (
    Listing,
    Published,
    Query,
    Reference,
    is_match,
    listed_name,
    listing_of,
    read_listing,
    relevance,
)
from tensafe.tgsp.keys import now
from tensafe.tgsp.reader import package_digest
from tensafe.tgsp.text import one_line
from tensafe.tgsp.verification import Verification


class FolderMarketplace:
    """The packages under one folder, which is made when the first is published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def url(self) -> str:
        """The folder."""
        return str(self.folder)

    def publish(self, package: Path, verified: Verification, sign_with: SignWith) -> Published:
        """Copy an intact package in under the next number."""
        manifest = verified.require(trusted=False)
        name, digest = listed_name(manifest), package_digest(package)
        try:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            with locked(self.folder / name / "versions"):
                there = [listing for listing, _ in self._versions(name)]
                for listing in there:
                    if listing.package_digest == digest:
                        return Published(listing, self.url, is_new=False)
                fingerprint = manifest.view.creator.public_key_fingerprint
                if there and there[-1].fingerprint != fingerprint:
                    raise MarketplaceError(
                        f"{name} belongs to the key {there[-1].fingerprint[:16]}… in {self.url}, "
                        "and the package is signed with another: give it a name of its own"
                    )
                number = 1 + max((int(listing.version) for listing in there), default=0)
                listing = listing_of(
                    manifest,
                    version=str(number),
                    package_digest=digest,
                    size_bytes=package.stat().st_size,
                    published=now(),
                )
                self._write(listing, manifest.view.skill_doc or "", package)
        except OSError as error:
            raise MarketplaceError(
                f"{self.url}: can't publish there: {error.strerror or error}; give a folder that "
                "you may write to with --marketplace"
            ) from error
        return Published(listing, self.url)

    def search(self, query: Query) -> list[Listing]:
        """The latest version of each package that matches."""
        found: list[tuple[int, Listing]] = []
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            shown = [v for v in self._versions(folder.name) if not v[0].yanked]
            if shown and is_match(*shown[-1], query):
                found.append((relevance(*shown[-1], query), shown[-1][0]))
        found.sort(key=lambda hit: (-hit[0], hit[1].name))
        if query.order == "newest":
            found.sort(key=lambda hit: hit[1].published, reverse=True)
        elif query.order == "score":
            found.sort(key=lambda hit: hit[1].score or -1.0, reverse=True)
        return [listing for _, listing in found[query.offset : query.offset + query.limit]]

    def find(self, reference: str) -> Listing:
        """The named version."""
        return self._find(reference)[0]

    def skill_doc(self, listing: Listing) -> str:
        """As it was published."""
        return self._find(f"{listing.name}@{listing.version}")[1]

    def fetch(self, listing: Listing, target: Path) -> None:
        """Copy the package's bytes."""
        source = self.folder / listing.name / f"{listing.version}.tgsp"
        try:
            if source.stat().st_size != listing.size_bytes:
                raise MarketplaceError(f"{source}: not of the size that its listing states")
            shutil.copyfile(source, target)
        except OSError as error:
            raise MarketplaceError(f"{source}: {error.strerror or error}") from error

    def yank(self, reference: str, reason: str, sign_with: SignWith) -> Listing:
        """Note the reason in the version's listing; whoever may write to the folder may do it."""
        listing = self._find(reference)[0]
        try:
            with locked(self.folder / listing.name / "versions"):
                current, skill_doc = self._find(f"{listing.name}@{listing.version}")
                yanked = replace(current, yanked=one_line(reason)[:500] or "no reason given")
                self._note(yanked, skill_doc)
        except OSError as error:
            raise MarketplaceError(
                f"{self.url}: can't note that {listing.name}@{listing.version} is withdrawn: "
                f"{error.strerror or error}"
            ) from error
        return yanked

    def _find(self, reference: str) -> tuple[Listing, str]:
        wanted = Reference.parse(reference)
        names = [wanted.name] if wanted.name else self._names()
        there = [version for name in names for version in self._versions(name)]
        if wanted.digest is not None:
            there = [v for v in there if v[0].package_digest == wanted.digest]
        elif wanted.version is not None:
            there = [v for v in there if v[0].version == wanted.version]
        else:
            there = [v for v in there if not v[0].yanked]
        if not there:
            raise MarketplaceError(f"{self.url} has no package {wanted} to give")
        return there[-1]

    def _names(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir()) if self.folder.is_dir() else []

    def _versions(self, name: str) -> list[tuple[Listing, str]]:
        """All versions with their skill documents, oldest first."""
        paths = [p for p in (self.folder / name).glob("*.json") if p.stem.isdigit()]
        return [_read(path) for path in sorted(paths, key=lambda p: int(p.stem))]

    def _write(self, listing: Listing, skill_doc: str, package: Path) -> None:
        target = self.folder / listing.name / f"{listing.version}.tgsp"
        # The listing makes the version exist, so it comes last.
        with atomic_path(target, mode=0o644) as temporary:
            shutil.copyfile(package, temporary)
            if package_digest(temporary) != listing.package_digest:
                raise MarketplaceError(f"{package} changed while it was published")
        self._note(listing, skill_doc)

    def _note(self, listing: Listing, skill_doc: str) -> None:
        path = self.folder / listing.name / f"{listing.version}.json"
        write_json(path, {"listing": listing.as_dict(), "skill_doc": skill_doc})


def _read(path: Path) -> tuple[Listing, str]:
    try:
        value = cast("dict[str, object]", json.loads(path.read_bytes()))
        listing, skill_doc = read_listing(value["listing"]), value["skill_doc"]
        if listing.name != path.parent.name or listing.version != path.stem:
            raise DataError(f"is the listing of {listing.name}@{listing.version}")
    except (OSError, KeyError, TypeError, ValueError, DataError) as error:
        raise MarketplaceError(
            f"{path}: not a readable listing ({error}); remove it with its package, or publish "
            "the package to another folder"
        ) from error
    return listing, str(skill_doc)
