"""Files that are never half-written, and private files that nobody else can read or change.

Owns the temp-file, fsync, rename, fsync-folder sequence, report files as JSON and text, and the
permission checks of the key folder. A crash leaves the old file or the new one, and at most a
stray `.partial` beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path

from tensafe.errors import KeyStoreError, UsageError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
MAX_SMALL_FILE_BYTES = 4 * 1024 * 1024


@contextlib.contextmanager
def atomic_path(path: Path, *, mode: int = 0o666) -> Generator[Path]:
    """An empty file to fill, which takes the name `path` only when the block ends without error.

    The caller may check the content on disk before the block ends. `mode` is subject to the
    umask; a `path` that exists is replaced.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        yield temporary
        os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write UTF-8 text atomically, making the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, mode=mode) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(path: Path, value: object, *, mode: int = 0o644) -> None:
    """Write indented JSON with sorted keys atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", mode=mode)


def write_private(path: Path, data: bytes) -> None:
    """Write a small file atomically, readable and writable by its owner alone."""
    with atomic_path(path, mode=PRIVATE_FILE) as temporary:
        temporary.write_bytes(data)


def private_folder(path: Path, *, forbidden: int = 0o077) -> Path:
    """The folder, made with mode 0700 if absent; others may hold no `forbidden` permission.

    Raises:
        KeyStoreError: it exists and others may look into it or change it, or isn't ours.
    """
    path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise KeyStoreError(f"{path} is not a folder")
    fix = "chmod 700" if forbidden & 0o044 else "chmod go-w"
    _require_ours(path, status, forbidden=forbidden, fix=fix)
    return path


def read_private(path: Path, *, forbidden: int = 0o077) -> bytes:
    """The content of a file that others may not touch (`forbidden` permission bits).

    Raises:
        FileNotFoundError: there is no such file.
        KeyStoreError: it is a link, not a plain file, too large, not ours, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyStoreError(f"{path} can't be opened as a plain file: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SMALL_FILE_BYTES:
            raise KeyStoreError(f"{path} is not a plain file of at most {MAX_SMALL_FILE_BYTES} B")
        fix = "chmod 600" if forbidden & 0o044 else "chmod go-w"
        _require_ours(path, status, forbidden=forbidden, fix=fix)
        return file.read(MAX_SMALL_FILE_BYTES + 1)


@contextlib.contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold an advisory lock beside `path`, so that two processes don't edit it at once."""
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def owned(lock: Path, refusal: str) -> Generator[None]:
    """Hold a lock file for as long as the block runs; its folder is made where it isn't there.

    The system lets go of it when the process ends, however it ends.

    Raises:
        UsageError: `refusal`, when another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(refusal) from error
        yield
    finally:
        os.close(descriptor)


def _require_ours(path: Path, status: os.stat_result, *, forbidden: int, fix: str) -> None:
    if status.st_uid != os.geteuid():
        raise KeyStoreError(f"{path} belongs to another user: refused")
    if status.st_mode & forbidden:
        raise KeyStoreError(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"run `{fix} {path}`"
            + (
                ", and make a new key if it was a private one"
                if stat.S_ISREG(status.st_mode)
                else ""
            )
        )


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
