"""One client script passes with the Tinker SDK 0.25, 0.30, 0.34 and 0.38 against one server.

Each version lives in an environment of its own and runs tests/clients/sdk_session.py: training,
sampling, resuming, saving, listing, expiry, publishing, download, deletion, async forms, refusals.
The newest runs first, so that the older ones meet what it left on the server.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from evidence._client_environments import environment, run_client, serving
from evidence._report import conclude

VERSIONS = ("0.38.0", "0.34.0", "0.30.4", "0.25.0")
STEPS = 12
MAX_GAP = 1e-4


def main() -> None:
    """Run the script with every version and judge what each reached."""
    pythons = {v: environment(f"sdk-{v}", [[f"tinker=={v}"]]) for v in VERSIONS}
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, serving(Path(name) / "home") as environ:
        for version, python in pythons.items():
            started = time.monotonic()
            done = run_client(python, "sdk_session.py", "nano", environ=environ)
            print(f"tinker {version}\n{done.stdout}", flush=True)
            lines = done.stdout.strip().splitlines()
            reached: dict[str, Any] = json.loads(lines[-1]) if done.returncode == 0 else {}
            figures[version] = {
                "exit": done.returncode,
                "seconds": round(time.monotonic() - started, 1),
                "steps": len(reached.get("steps", [])),
                **{k: reached.get(k) for k in ("sdk", "first_loss", "last_loss")},
                **{k: reached.get(k) for k in ("sampler_trainer_gap", "resume_gap")},
            }
    conclude("sdk-versions", figures, holds=all(is_good(v, f) for v, f in figures.items()))


def is_good(version: str, figures: dict[str, Any]) -> bool:
    """Whether a version did every step, with the losses and gaps that a user may expect."""
    return (
        figures["exit"] == 0
        and figures["sdk"] == version
        and figures["steps"] == STEPS
        and figures["last_loss"] < figures["first_loss"]
        and figures["sampler_trainer_gap"] < MAX_GAP
        and figures["resume_gap"] < MAX_GAP
    )


if __name__ == "__main__":
    main()
