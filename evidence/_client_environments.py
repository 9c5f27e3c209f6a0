"""Virtual environments of other people's clients, and a server for them to talk to.

Environments lie in the user's cache folder and are used again; a marker written last says that one
is whole and what it was made from.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Any looser requirement may resolve to a CUDA build of several gigabytes.
TORCH = "torch==2.13.0"
_MARKER = "made-from.json"
_STOP_TIMEOUT_S = 30
# These would lead a client elsewhere than to the server under test.
_FOREIGN = ("TINKER_", "TINKER_ENGINE_", "PYTHONPATH")


def cache_folder() -> Path:
    """Where environments are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tinker-engine-clients"


def environment(name: str, installs: Sequence[Sequence[str]]) -> Path:
    """The interpreter of an environment made by `pip install` of each entry in turn."""
    folder = cache_folder() / name
    marker, python = folder / _MARKER, folder / "bin" / "python"
    recipe = [list(arguments) for arguments in installs]
    if marker.is_file() and json.loads(marker.read_text("utf-8")) == recipe:
        return python
    print(f"making the environment {folder}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for arguments in recipe:
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*command, *arguments], check=True)
    marker.write_text(json.dumps(recipe), "utf-8")
    return python


def requirements_without(python: Path, package: str, left_out: str) -> list[str]:
    """What an installed package requires, without extras and without one of its requirements."""
    code = f"import importlib.metadata as m; print(*(m.requires({package!r}) or []), sep='\\n')"
    told = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in told.stdout.splitlines() if ";" not in line]
    return [line for line in lines if not line.startswith(left_out)]


def run_client(
    python: Path, script: str, *arguments: str, environ: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """A client script from tests/clients in its own environment, without this project's modules."""
    command = [str(python), str(ROOT / "tests" / "clients" / script), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environ, check=False)


@contextmanager
def serving(home: Path, base_model: str = "nano") -> Generator[dict[str, str]]:
    """A server of its own process; gives the environment that its clients need."""
    key = f"tml-{secrets.token_urlsafe(24)}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    command = [
        sys.executable, "-m", "tinker_engine.cli", "serve", "--base-model", base_model,
        "--port", "0", "--home", str(home), "--threads", "1", "--json",
    ]  # fmt: skip
    server = subprocess.Popen(
        command,
        env={**kept, "TINKER_ENGINE_API_KEY": key, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=(home.parent / "server.log").open("w"),
        text=True,
        cwd=ROOT,
    )
    try:
        assert server.stdout is not None
        facts = json.loads(server.stdout.readline() or "{}")
        if not facts:
            sys.exit(f"the server did not start; see {home.parent / 'server.log'}")
        yield {
            **kept,
            "TINKER_BASE_URL": facts["base_url"],
            "TINKER_API_KEY": key,
            "OMP_NUM_THREADS": "1",
            # Tokenizers come from the base's folder; a hub is neither needed nor to be waited for.
            "HF_HUB_OFFLINE": "1",
        }
    finally:
        server.terminate()
        try:
            server.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
