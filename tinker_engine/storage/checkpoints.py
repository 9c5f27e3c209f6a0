"""Checkpoint folders: written whole or not at all, and checked against their digests before use.

A folder is filled under a hidden temporary name beside its place, described by `digests.json`
(SHA-256 and size of every file), flushed to disk, and renamed into place. Readers therefore see a
complete folder or none, whenever the process dies.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tinker_engine.errors import CheckpointError, NotFoundError, StorageError
from tinker_engine.protocol.paths import CheckpointPath, run_folder_name

DIGESTS_FILE = "digests.json"
_TEMPORARY = ".new-"
_REPLACED = ".old-"
_DELETED = ".gone-"
_LOG = "log"
_STALE_AFTER_S = 24 * 3600
_FORMAT = 1


@dataclass(frozen=True)
class FolderFacts:
    """Digest (over names, sizes and file digests) and total size of a checkpoint folder."""

    digest: str
    size_bytes: int


class CheckpointFolders:
    """The checkpoint folders under one home."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir

    def run_dir(self, run_id: str) -> Path:
        """Folder of a run."""
        return self._runs_dir / run_folder_name(run_id)

    def ledger_dir(self, run_id: str) -> Path:
        """Folder of a private run's ledger and stored updates."""
        return self.run_dir(run_id) / "ledger"

    def snapshot_dir(self, run_id: str, sampler_id: str) -> Path:
        """Folder of the unnamed snapshot that a sampling session was made for."""
        return self.run_dir(run_id) / "snapshots" / sampler_id.replace(":", "-")

    def log_dir(self, run_id: str) -> Path:
        """Folder of a run's request log and saved state, with which it goes on after a crash."""
        return self.run_dir(run_id) / _LOG

    def run_logs(self) -> list[Path]:
        """The log folders of all runs."""
        return list(self._runs_dir.glob(f"*/{_LOG}"))

    def folder(self, path: CheckpointPath) -> Path:
        """Where a checkpoint's files are, or would be."""
        return self.run_dir(path.run_id) / path.kind / path.name

    def exists(self, path: CheckpointPath) -> bool:
        """Whether the checkpoint is complete on disk (its content is not checked here)."""
        return (self._recovered(path) / DIGESTS_FILE).is_file()

    def write(
        self, path: CheckpointPath, fill: Callable[[Path], None], *, overwrite: bool
    ) -> FolderFacts:
        """Let `fill` write into a new folder and put it in place.

        Raises CheckpointError when the checkpoint exists and `overwrite` is false, and
        StorageError when the disk refuses; neither leaves a partial folder.
        """
        final = self._recovered(path)
        if final.exists() and not overwrite:
            raise CheckpointError(
                f"{path} exists already; choose another name, or save with overwrite=True"
            )
        return self.write_folder(final, fill, name=str(path))

    def write_folder(
        self, final: Path, fill: Callable[[Path], object], *, name: str
    ) -> FolderFacts:
        """Let `fill` write into a new folder and put it in place of what is there.

        Raises StorageError when the disk refuses, and leaves no partial folder then.
        """
        temporary = final.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            temporary.mkdir(parents=True)
            fill(temporary)
            facts = _describe(temporary)
            _flush(temporary)
            _move_into_place(temporary, final)
        except OSError as error:
            raise StorageError(f"{name} could not be written: {error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return facts

    def open(self, path: CheckpointPath) -> tuple[Path, FolderFacts]:
        """Folder of a checkpoint whose files are all there and unchanged, and its facts.

        Raises NotFoundError when there is none, CheckpointError when a file is missing, added or
        differs from its digest.
        """
        folder = self._recovered(path)
        if not folder.is_dir():
            raise NotFoundError(f"{path} does not exist on this server")
        return folder, verify_folder(folder, str(path))

    def copy(self, source: CheckpointPath, target: CheckpointPath) -> FolderFacts:
        """Copy a checkpoint whose files are all there and unchanged under another path.

        Raises as `open` does, and CheckpointError when the source changed meanwhile.
        """
        folder, facts = self.open(source)

        def fill(new: Path) -> None:
            shutil.copytree(folder, new, dirs_exist_ok=True)
            (new / DIGESTS_FILE).unlink()

        copied = self.write(target, fill, overwrite=True)
        if copied != facts:
            self.delete(target)
            raise CheckpointError(f"{source} was changed while it was copied; copy it again")
        return copied

    def delete(self, path: CheckpointPath) -> None:
        """Remove a checkpoint's files; it vanishes at once, then its space is freed."""
        final = self.folder(path)
        if final.exists():
            aside = final.parent / f"{_DELETED}{uuid.uuid4().hex}"
            final.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    def _recovered(self, path: CheckpointPath) -> Path:
        """The checkpoint's folder; an overwrite that died between its two renames is undone."""
        final = self.folder(path)
        aside = final.parent / f"{_REPLACED}{final.name}"
        if not final.exists() and aside.is_dir():
            aside.rename(final)
        return final

    def sweep(self) -> None:
        """Remove what a killed process left half-written, once it is a day old."""
        limit = time.time() - _STALE_AFTER_S
        for prefix in (_TEMPORARY, _DELETED):
            for folder in self._runs_dir.glob(f"*/*/{prefix}*"):
                if folder.stat().st_mtime < limit:
                    shutil.rmtree(folder, ignore_errors=True)


def verify_folder(folder: Path, name: str) -> FolderFacts:
    """Check every file of a folder against `digests.json`; raises CheckpointError."""
    listed = _read_digests(folder, name)
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    present.discard(DIGESTS_FILE)
    for problem, files in (
        ("lacks", set(listed) - present),
        ("has a file that it should not have,", present - set(listed)),
    ):
        if files:
            raise CheckpointError(f"{name} is damaged: it {problem} {sorted(files)[0]}")
    for relative, entry in listed.items():
        file = folder / relative
        if file.stat().st_size != entry["size"] or file_digest(file) != entry["sha256"]:
            raise CheckpointError(
                f"{name} is damaged: {relative} does not have the recorded digest; "
                "use another checkpoint"
            )
    return _facts(listed)


def file_digest(file: Path) -> str:
    """Hex SHA-256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_digests(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    try:
        content: Any = json.loads((folder / DIGESTS_FILE).read_text("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{name} is incomplete: it has no {DIGESTS_FILE}") from error
    except ValueError as error:
        raise CheckpointError(f"{name} is damaged: {DIGESTS_FILE} is not JSON") from error
    files: Any = cast("dict[str, Any]", content).get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        raise CheckpointError(f"{name} is damaged: {DIGESTS_FILE} lists no files")
    for entry in cast("dict[str, Any]", files).values():
        if not isinstance(entry, dict) or not {"sha256", "size"} <= set(cast(Any, entry)):
            raise CheckpointError(f"{name} is damaged: {DIGESTS_FILE} is not in the known form")
    return cast("dict[str, dict[str, Any]]", files)


def _describe(folder: Path) -> FolderFacts:
    files = {
        p.relative_to(folder).as_posix(): {"sha256": file_digest(p), "size": p.stat().st_size}
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }
    (folder / DIGESTS_FILE).write_text(
        json.dumps({"format": _FORMAT, "files": files}, indent=1, sort_keys=True), "utf-8"
    )
    return _facts(files)


def _facts(files: dict[str, dict[str, Any]]) -> FolderFacts:
    lines = "".join(f"{n}\0{e['size']}\0{e['sha256']}\n" for n, e in sorted(files.items()))
    return FolderFacts(
        digest=hashlib.sha256(lines.encode()).hexdigest(),
        size_bytes=sum(int(entry["size"]) for entry in files.values()),
    )


def _flush(folder: Path) -> None:
    for entry in sorted(folder.rglob("*"), reverse=True):
        _fsync(entry)
    _fsync(folder)


def _move_into_place(temporary: Path, final: Path) -> None:
    aside = final.parent / f"{_REPLACED}{final.name}"
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)
    temporary.rename(final)
    _fsync(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
