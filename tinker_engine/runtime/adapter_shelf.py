"""Adapters that live slots use: two PEFT files a folder, named by the digest of the weights.

A folder is complete or absent, and its files are checked against their digests whenever they are
loaded. What stands here once is never changed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
import uuid
from collections.abc import Set
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
        temporary = self._root / f".new-{uuid.uuid4().hex}"
        try:
            temporary.mkdir(parents=True)
            write_atomically(temporary / CONFIG_FILE, config)
            write_atomically(temporary / WEIGHTS_FILE, weights)
            temporary.rename(final)
            sync_folder(self._root)
        except OSError as error:
            raise EngineError(f"adapter {identity.digest} can't be stored: {error}") from error
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
