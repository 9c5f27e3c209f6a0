"""The closed loop on `nano`, offline: debate, train, measure, gate, swap in, three rounds.

Runs the commands a user would type, in homes of their own under `runs/loop-demo`, with a throw-away
signing key. Run again, it begins anew.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = ROOT / "runs" / "loop-demo"
TASKS = "runs/loop-demo/tasks.jsonl"
SEED = "22"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module; its progress goes to this terminal, its result comes back."""
    print("$ python -m " + " ".join(arguments), file=sys.stderr, flush=True)
    return subprocess.run(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )


def main() -> int:
    """Make tasks, run the loop; the last line of the output is the summary as JSON."""
    started = time.monotonic()
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    os.environ["TENSAFE_HOME"] = str(RUN / "home")
    os.environ["ARAGORA_HOME"] = str(RUN / "aragora")
    os.environ["TINKER_ENGINE_HOME"] = str(RUN / "engine")
    os.environ["TENSAFE_KEY_PASSPHRASE"] = secrets.token_urlsafe(24)
    os.environ["HF_HUB_OFFLINE"] = "1"
    made = run("aragora.loop.demo_tasks", "--seed", SEED, "--out", TASKS)
    if made.returncode != 0:
        return made.returncode
    looped = run(
        "aragora", "loop", "--tasks", TASKS, "--out", "runs/loop-demo/loop", "--rounds", "3",
        "--protocol", "weigh", "--pii", "keep", "--dpo-epochs", "0", "--min-confidence", "0.9",
        "--learning-rate", "2e-3", "--epochs", "8", "--seed", SEED, "--json",
    )  # fmt: skip
    if not looped.stdout:
        return looped.returncode
    figures = json.loads(looped.stdout)
    for version in figures["versions"]:
        print(
            f"version {version['number']}: single {version['single']:.1%}, majority "
            f"{version['majority']:.1%}, greedy {version['greedy']:.1%}, robustness "
            f"{version['robustness']:.1%}, {'used' if version['used'] else 'not used'}"
        )
    gain = figures["gain"]
    print(
        f"version {figures['current']} against the base: {gain['difference']:+.1%}, "
        f"p = {gain['p_value']:.2g}"
    )
    print("page         runs/loop-demo/loop/report.html")
    print(json.dumps({**figures, "seconds": round(time.monotonic() - started, 1)}))
    return looped.returncode


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
