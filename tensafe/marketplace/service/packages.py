"""Package files on disk, by digest, and what happens to one between its arrival and the catalogue.

A package arrives in `incoming`, is hashed while it comes, judged by the load gate against the
base models that this marketplace is for, and moved under its digest only when it was let in.
Nothing else ever reads `incoming`; what is rejected or cut off is deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import BinaryIO

from tensafe.errors import DataError, MarketplaceError, VerificationError
from tensafe.files import sync_folder
from tensafe.gate.load_gate import judge_package
from tensafe.gate.load_records import LoadPolicy, LoadReport, RunningBase
from tensafe.marketplace.records import Listing, Reference, listed_name, listing_of
from tensafe.marketplace.service.catalogue import Catalogue
from tensafe.marketplace.service.refusals import (
    NotFoundError,
    NotYoursError,
    RefusedError,
    RejectedError,
    TooLargeError,
)
from tensafe.marketplace.service.versions import Upload
from tensafe.tgsp.manifest import Manifest
from tensafe.tgsp.reader import open_package
from tensafe.tgsp.skill_doc import require_skill_doc

_STALE_S = 24 * 3600.0


class Arrival:
    """One package on its way in: written and hashed chunk by chunk, never beyond its size."""

    def __init__(self, file: BinaryIO, path: Path, promised: Upload) -> None:
        self.path, self.promised, self.size = path, promised, 0
        self._file, self._hash = file, hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            TooLargeError: more than was promised.
        """
        self.size += len(chunk)
        if self.size > self.promised.size_bytes:
            raise TooLargeError(f"more than the {self.promised.size_bytes} bytes that were named")
        self._hash.update(chunk)
        self._file.write(chunk)

    def finish(self) -> None:
        """Demand that what came is what was promised, and bring it to the disk.

        Raises:
            RefusedError: other bytes, or too few.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        if self.size != self.promised.size_bytes:
            raise RefusedError(f"{self.size} bytes came, {self.promised.size_bytes} were named")
        if self._hash.hexdigest() != self.promised.package_digest:
            raise RefusedError("the bytes that came do not have the digest that was named")


class Packages:
    """The package files of one marketplace, and the gate in front of them."""

    def __init__(
        self,
        folder: Path,
        catalogue: Catalogue,
        bases: Sequence[RunningBase],
        policy: LoadPolicy,
    ) -> None:
        self._folder, self._incoming = folder / "packages", folder / "incoming"
        self._catalogue, self._policy = catalogue, policy
        self.bases = {base.name: base for base in bases}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._clear()
        except OSError as error:
            raise MarketplaceError(f"{folder}: {error.strerror or error}") from error
        if not self.bases:
            raise MarketplaceError("a marketplace needs the facts of at least one base model")

    @contextlib.contextmanager
    def arrival(self, promised: Upload) -> Generator[Arrival]:
        """A file for an upload; it is gone after the block unless `admit` moved it."""
        path = self._incoming / f"{secrets.token_hex(16)}.partial"
        with path.open("xb") as file:
            try:
                yield Arrival(file, path, promised)
            finally:
                path.unlink(missing_ok=True)

    def admit(self, arrival: Arrival) -> Listing:
        """Judge a finished arrival and list it.

        Raises:
            RejectedError: the load gate said no; its report is kept.
            NotYoursError, ConflictError: the name is another's, or the package is listed.
        """
        promised = arrival.promised
        trust = self._catalogue.creators.trust(promised.handle)
        base = self._base_for(arrival.path)
        report = judge_package(arrival.path, base, trust, self._policy)
        if not report.accepted:
            reasons = "".join(f"\n  {step.name}: {step.reason}" for step in report.failed)
            raise self._rejected(promised, report, f"the load gate said no:{reasons}")
        manifest, skill_doc = self._read(arrival.path, promised, report)
        listing = listing_of(
            manifest,
            version="1",
            package_digest=promised.package_digest,
            size_bytes=promised.size_bytes,
            published="",
        )
        target = self.path(promised.package_digest)
        target.parent.mkdir(exist_ok=True)
        # The file comes first: a version in the catalogue always has its package.
        os.replace(arrival.path, target)
        sync_folder(target.parent)
        try:
            return self._catalogue.versions.add(
                listing, promised.handle, skill_doc, report.to_json()
            )
        except NotYoursError:
            target.unlink(missing_ok=True)
            raise

    def path(self, digest: str) -> Path:
        """Where the package with a digest lies."""
        return self._folder / digest[:2] / f"{digest}.tgsp"

    def open(self, digest: str) -> BinaryIO:
        """A listed package, for reading.

        Raises:
            NotFoundError: it is not listed.
        """
        self._catalogue.versions.find(Reference(digest=digest))
        try:
            return self.path(digest).open("rb")
        except OSError as error:
            raise NotFoundError("the package's file is missing: tell the operator") from error

    def _base_for(self, path: Path) -> RunningBase:
        """The base that the package names, else any: the gate then says which it is for."""
        try:
            with open_package(path) as package:
                named = package.manifest().view.model.base_model
        except VerificationError:
            named = ""
        return self.bases.get(named) or next(iter(self.bases.values()))

    def _read(self, path: Path, promised: Upload, report: LoadReport) -> tuple[Manifest, str]:
        """Manifest and skill document of an accepted package, by the marketplace's own rules."""
        with open_package(path) as package:
            manifest = package.manifest()
        view = manifest.view
        if view.creator.public_key_fingerprint != promised.fingerprint:
            raise self._rejected(
                promised, report, "the package is signed with another of your keys"
            )
        if view.skill_doc is None:
            raise self._rejected(promised, report, "the package holds no skill document to read")
        try:
            require_skill_doc(view.skill_doc)
            listed_name(manifest)
        except (DataError, VerificationError) as error:
            raise self._rejected(promised, report, str(error)) from error
        return manifest, view.skill_doc

    def _rejected(self, promised: Upload, report: LoadReport, reason: str) -> RejectedError:
        text = report.to_json()
        identity = self._catalogue.versions.reject(
            promised.package_digest, promised.fingerprint, text
        )
        return RejectedError(f"{reason}\nreport {identity}", text)

    def _clear(self) -> None:
        """Delete what a killed service left behind."""
        for path in self._incoming.glob("*.partial"):
            if path.stat().st_mtime < time.time() - _STALE_S:
                path.unlink(missing_ok=True)
