"""Running `tensafe train` as a user would, in a folder and home of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def shared_data() -> Path:
    """The folder with the real test data; ends the program with advice when it is absent."""
    folder = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit("real test data is absent: set SHARED_DATA to its folder")
    return folder


def environment(home: Path) -> dict[str, str]:
    """The environment with homes under `home` and a throw-away passphrase."""
    return {
        **os.environ,
        "TENSAFE_HOME": str(home / "tensafe"),
        "TINKER_ENGINE_HOME": str(home / "engine"),
        "TENSAFE_KEY_PASSPHRASE": secrets.token_urlsafe(24),
        "HF_HUB_OFFLINE": "1",
    }


@dataclass(frozen=True)
class Trained:
    """How a training command ended. `outcome` is its JSON (empty when it printed none)."""

    exit_code: int
    seconds: float
    outcome: dict[str, Any]
    gates: dict[str, Any]
    package_exists: bool


def tensafe_train(folder: Path, environ: dict[str, str], *options: str) -> Trained:
    """`tensafe train ... --json` with its run folder at `folder`."""
    command = [sys.executable, "-m", "tensafe", "train", *options, "--out", str(folder), "--json"]
    print("$ tensafe " + " ".join(command[3:]), flush=True)
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environ, check=False)
    seconds = time.monotonic() - started
    gates = folder / "gates.json"
    return Trained(
        exit_code=done.returncode,
        seconds=round(seconds, 1),
        outcome=json.loads(done.stdout) if done.stdout.strip() else {},
        gates=json.loads(gates.read_text(encoding="utf-8")) if gates.exists() else {},
        package_exists=any(folder.glob("*.tgsp")),
    )
