"""Debian's `docker-registry` on a free loopback port, with its data in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import httpx

PROGRAM = "docker-registry"
_START_TIMEOUT_S = 60.0


def registry_program() -> str | None:
    """Where the registry's program is, if it is installed."""
    return shutil.which(PROGRAM)


@contextlib.contextmanager
def running_registry(htpasswd: str | None = None) -> Generator[tuple[str, Path]]:
    """`HOST:PORT` of a registry and the folder with its files; `htpasswd` is who may use it.

    Raises:
        RuntimeError: it is not installed, or does not start.
    """
    program = registry_program()
    if program is None:
        raise RuntimeError(f"{PROGRAM} is not installed (Debian package {PROGRAM})")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="registry-") as name:
        folder = Path(name)
        auth = ""
        if htpasswd is not None:
            (folder / "htpasswd").write_text(htpasswd, encoding="utf-8")
            auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {folder / 'htpasswd'}\n"
        (folder / "config.yml").write_text(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"
            f"storage:\n  filesystem:\n    rootdirectory: {folder / 'data'}\n"
            f"http:\n  addr: 127.0.0.1:{port}\n{auth}",
            encoding="utf-8",
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "serve", str(folder / "config.yml")],
                stdout=log,
                stderr=log,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )
        try:
            _wait(process, port, folder / "log")
            yield f"127.0.0.1:{port}", folder / "data"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v2/").status_code in (200, 401):
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{PROGRAM} did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
