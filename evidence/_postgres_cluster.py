"""A PostgreSQL cluster of its own in a temporary folder, reached through a Unix socket."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

_DEBIAN = Path("/usr/lib/postgresql")


class NoPostgresError(Exception):
    """No cluster can run on this machine; the message says why."""


@contextlib.contextmanager
def running_cluster() -> Generator[str]:
    """URL of a fresh server with an empty database, gone after the block.

    Raises:
        NoPostgresError: no server binaries, or no user whom they would run as.
    """
    binaries = _binaries()
    user = _user()
    # Short, because a socket's path may have no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    try:
        _run(
            user, binaries / "initdb", "-D", data, "-U", "engine", "-A", "trust", "-E", "UTF8",
            "--no-sync",
        )  # fmt: skip
        _run(
            user,
            binaries / "pg_ctl",
            "-D",
            data,
            "-w",
            "-o",
            options,
            "-l",
            folder / "log",
            "start",
        )
        try:
            yield f"postgresql://engine@/postgres?host={folder}"
        finally:
            _run(user, binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if not versions:
        raise NoPostgresError("no PostgreSQL server binaries (initdb) on this machine")
    return versions[-1].parent


def _user() -> pwd.struct_passwd:
    """Who the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgresError("PostgreSQL does not run as root, and there is no other user")


def _run(user: pwd.struct_passwd, *command: object) -> None:
    is_root = os.geteuid() == 0
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        user=user.pw_uid if is_root else None,
        group=user.pw_gid if is_root else None,
        extra_groups=[] if is_root else None,
        env={**os.environ, "LC_ALL": "C", "HOME": "/"},
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr + done.stdout)
