"""A training process killed at three random steps and resumed gives the uninterrupted digest.

Without privacy (noise is never repeatable), with a fixed seed and thread count; each kill is a
SIGKILL to the whole process group, engine included.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evidence._report import conclude
from evidence._train import ROOT, environment

STEPS_BETWEEN_CHECKPOINTS = 10
KILLS = 3


def command(folder: Path, data: Path) -> list[str]:
    """A training without privacy of about a hundred steps."""
    return [
        sys.executable, "-m", "tensafe", "train", "--data", str(data), "--no-dp", "--out",
        str(folder), "--epochs", "2", "--checkpoint-steps", str(STEPS_BETWEEN_CHECKPOINTS),
        "--name", "resumed", "--max-test-items", "50", "--json",
    ]  # fmt: skip


def steps_done(folder: Path) -> int:
    """The last step that the run's event log names."""
    log = folder / "events.jsonl"
    steps = [0]
    if log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["event"] == "progress":
                steps.append(int(event["step"]))
    return steps[-1]


def kill_after(folder: Path, data: Path, environ: dict[str, str], step: int) -> int:
    """Start or resume the run and SIGKILL it when its log reaches `step`; gives the step seen."""
    process = subprocess.Popen(
        command(folder, data), env=environ, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and steps_done(folder) < step:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return steps_done(folder)


def payload_digest(folder: Path) -> str:
    """SHA-256 of the adapter that the run left."""
    return hashlib.sha256(
        (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    ).hexdigest()


def finish(folder: Path, data: Path, environ: dict[str, str]) -> int:
    """Run to the end."""
    return subprocess.run(
        command(folder, data), env=environ, stdout=subprocess.DEVNULL, check=False
    ).returncode


def main() -> None:
    """Compare an undisturbed run with one killed three times."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        data = home / "tickets.csv"
        source = (ROOT / "examples" / "helpdesk" / "data" / "tickets.csv").read_bytes()
        data.write_bytes(b"\n".join(source.split(b"\n")[:1200]))
        environ = {**environment(home), "TINKER_ENGINE_THREADS": "2", "OMP_NUM_THREADS": "2"}
        whole = home / "whole"
        exits = [finish(whole, data, environ)]
        total = steps_done(whole)
        broken = home / "broken"
        points = sorted(random.sample(range(2, total - 1), KILLS))
        seen = [kill_after(broken, data, environ, step) for step in points]
        print(f"{total} steps; killed at steps {seen}")
        exits.append(finish(broken, data, environ))
        first, second = payload_digest(whole), payload_digest(broken)
    print(first, second, sep="\n")
    conclude(
        "resume",
        {"steps": total, "killed_at": seen, "exits": exits, "digests": [first, second]},
        # 3 is a gate's no (a short run need not reach 0.80); the adapter exists all the same.
        holds=first == second and all(code in (0, 3) for code in exits),
    )


if __name__ == "__main__":
    main()
