"""A PostgreSQL cluster of its own in a temporary folder, from Debian's or any other package."""

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


@contextlib.contextmanager
def postgres_cluster() -> Generator[str | None]:
    """URL of a fresh server on a Unix socket; None where there is no PostgreSQL."""
    binaries, user = _binaries(), _user()
    if binaries is None or user is None:
        yield None
        return
    # A socket's path may have no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    try:
        _run(user, binaries / "initdb", "-D", data, "-U", "aragora", "-A", "trust", "-E", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        _run(
            user, binaries / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log",
            "start",
        )  # fmt: skip
        try:
            yield f"postgresql://aragora@/postgres?host={folder}"
        finally:
            _run(user, binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return versions[-1].parent if versions else None


def _user() -> pwd.struct_passwd | None:
    """Who the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _run(user: pwd.struct_passwd, *command: object) -> None:
    is_root = os.geteuid() == 0
    done = subprocess.run(
        [str(part) for part in command],
        check=False, capture_output=True, text=True, timeout=120, cwd="/",
        user=user.pw_uid if is_root else None,
        group=user.pw_gid if is_root else None,
        extra_groups=[] if is_root else None,
        env={**os.environ, "LC_ALL": "C", "HOME": "/"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr + done.stdout)
