"""Adapters that live slots use: two PEFT files a folder, named by the digest of the weights.

A set of adapters is a folder with one file, named by that file's digest. A folder is complete or
absent, and its files are checked against their digests whenever they are loaded. What stands here
once is never changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from tinker_engine.errors import CheckpointError, EngineError
from tinker_engine.models.adapter_files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    sync_folder,
    write_atomically,
)
from tinker_engine.models.digests import file_sha256

SET_FILE = "adapter_set.json"
MOST_MEMBERS = 8
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STALE_AFTER_S = 24 * 3600


@dataclass(frozen=True)
class AdapterIdentity:
    """Hex SHA-256 of adapter_model.safetensors, and of adapter_config.json.

    The first is the adapter's digest wherever one is named. The second belongs to it, because the
    configuration scales the weights: the same file with another alpha is another adapter.
    """

    digest: str
    config_digest: str


@dataclass(frozen=True)
class AdapterSet:
    """Several adapters behind one slot; `document` is what a router chooses by.

    The set's digest is that of the document's bytes.
    """

    document: bytes
    members: tuple[AdapterIdentity, ...]

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the document."""
        return hashlib.sha256(self.document).hexdigest()

    @property
    def identity(self) -> AdapterIdentity:
        """A set is one file, whose digest stands in both places; no adapter's ever do."""
        return AdapterIdentity(self.digest, self.digest)


def read_set(document: bytes) -> AdapterSet:
    """The set that a document names: an object with `members`, each with its two digests.

    Raises CheckpointError for anything else.
    """
    try:
        rows = json.loads(document)["members"]
        members = tuple(AdapterIdentity(row["digest"], row["config_digest"]) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"not a set of adapters: {error!r}") from error
    digests = [member.digest for member in members]
    texts = [*digests, *(member.config_digest for member in members)]
    if not all(_DIGEST.fullmatch(text) for text in texts) or len(set(digests)) != len(digests):
        raise CheckpointError("a member of the set has no digest, or stands in it twice")
    if not 1 <= len(members) <= MOST_MEMBERS:
        raise CheckpointError(f"the set has {len(members)} adapters; expected 1 to {MOST_MEMBERS}")
    return AdapterSet(document, members)


def identify(folder: Path) -> AdapterIdentity:
    """The identity of a PEFT folder's adapter; raises CheckpointError for missing files."""
    return _identity(*_read(folder))


def _read(folder: Path) -> tuple[bytes, bytes]:
    try:
        return (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder} is not a PEFT adapter folder: {error}") from error


def _identity(config: bytes, weights: bytes) -> AdapterIdentity:
    return AdapterIdentity(hashlib.sha256(weights).hexdigest(), hashlib.sha256(config).hexdigest())


class AdapterShelf:
    """The adapter folders under one folder of the engine's home."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, folder: Path, identity: AdapterIdentity) -> None:
        """Copy an adapter's two files here.

        Raises CheckpointError for files that don't have this identity and for weights that stand
        here with another configuration, EngineError when the disk refuses.
        """
        config, weights = _read(folder)
        if _identity(config, weights) != identity:
            raise CheckpointError(f"{folder} was changed while it was looked at; decide anew")
        final = self.folder(identity.digest)
        if final.is_dir():
            self.open(identity)
            return
        self._store(identity.digest, {CONFIG_FILE: config, WEIGHTS_FILE: weights})

    def put_set(self, adapters: AdapterSet) -> None:
        """Keep a set's document; raises EngineError when the disk refuses."""
        if self.folder(adapters.digest).is_dir():
            self.open_set(adapters.digest)
            return
        self._store(adapters.digest, {SET_FILE: adapters.document})

    def is_set(self, digest: str) -> bool:
        """Whether what is kept under a digest is a set."""
        return (self.folder(digest) / SET_FILE).is_file()

    def open_set(self, digest: str) -> AdapterSet:
        """A set whose document has its digest; raises CheckpointError."""
        try:
            found = read_set((self.folder(digest) / SET_FILE).read_bytes())
        except OSError as error:
            raise CheckpointError(f"set {digest} can't be read: {error}") from error
        if found.digest != digest:
            raise CheckpointError(f"set {digest}: its document has digest {found.digest}")
        return found

    def _store(self, digest: str, files: Mapping[str, bytes]) -> None:
        temporary = self._root / f".new-{uuid.uuid4().hex}"
        try:
            temporary.mkdir(parents=True)
            for name, content in files.items():
                write_atomically(temporary / name, content)
            temporary.rename(self.folder(digest))
            sync_folder(self._root)
        except OSError as error:
            raise EngineError(f"adapter {digest} can't be stored: {error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def folder(self, digest: str) -> Path:
        """Where an adapter's files are, or would be."""
        return self._root / digest

    def open(self, identity: AdapterIdentity) -> Path:
        """The folder of an adapter whose files have their digests; raises CheckpointError."""
        folder = self.folder(identity.digest)
        for name, expected in (
            (WEIGHTS_FILE, identity.digest),
            (CONFIG_FILE, identity.config_digest),
        ):
            try:
                found = file_sha256(folder / name)
            except OSError as error:
                raise CheckpointError(
                    f"adapter {identity.digest} can't be read: {error}"
                ) from error
            if found != expected:
                raise CheckpointError(
                    f"adapter {identity.digest}: {name} has digest {found}, expected {expected}"
                )
        return folder

    def remove(self, digest: str) -> None:
        """Remove an adapter's folder; it vanishes at once, then its space is freed."""
        folder = self.folder(digest)
        if folder.is_dir():
            aside = self._root / f".gone-{uuid.uuid4().hex}"
            folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    def sweep(self, keep: Set[str]) -> None:
        """Remove what no slot knows (left by a killed process), once it is a day old."""
        limit = time.time() - _STALE_AFTER_S
        for folder in self._root.glob("*"):
            is_ours = folder.name.startswith((".new-", ".gone-")) or _DIGEST.fullmatch(folder.name)
            if is_ours and folder.name not in keep and folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
