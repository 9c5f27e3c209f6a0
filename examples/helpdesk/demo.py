"""The main job on the helpdesk corpus: train privately, test, screen, sign, verify.

Runs the same commands a user would type, in a home of its own under `runs/demo`, with a
throw-away signing key whose passphrase lives as long as this process.
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
DATA = ROOT / "examples" / "helpdesk" / "data"
RUN = ROOT / "runs" / "demo"


def tensafe(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line; its progress goes to this terminal, its result comes back."""
    print("$ tensafe " + " ".join(arguments), file=sys.stderr, flush=True)
    return subprocess.run(
        [sys.executable, "-m", "tensafe", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
        check=False,
    )


def main() -> int:
    """Train and verify; the last line of the output is the summary as JSON."""
    started = time.monotonic()
    shutil.rmtree(RUN, ignore_errors=True)
    os.environ["TENSAFE_HOME"] = str(RUN / "home")
    os.environ["TINKER_ENGINE_HOME"] = str(RUN / "engine")
    os.environ["TENSAFE_KEY_PASSPHRASE"] = secrets.token_urlsafe(24)
    os.environ["HF_HUB_OFFLINE"] = "1"
    trained = tensafe(
        "train", "--data", str(DATA.relative_to(ROOT)), "--out", "runs/demo/adapter",
        "--name", "veldrun-helpdesk", "--domain", "customer support",
        "--steps", "36", "--max-test-items", "1000", "--json",
    )  # fmt: skip
    if trained.returncode != 0:
        print(trained.stdout)
        return trained.returncode
    outcome = json.loads(trained.stdout)
    verified = tensafe("verify", outcome["package"], "--require-trusted")
    print(verified.stdout)
    if verified.returncode != 0:
        return verified.returncode
    low, high = outcome["interval"]
    print(f"base model   {outcome['base_model']}: score {outcome['base_score']:.3f}")
    print(
        f"adapter      score {outcome['score']:.3f} [{low:.3f}, {high:.3f}]"
        f" on {outcome['test_items']} held-out messages"
    )
    print(f"privacy      epsilon {outcome['epsilon']:.3f} at delta {outcome['delta']:.1e}")
    print(f"screening    {outcome['screening']}")
    print(f"package      {outcome['package']}")
    print(f"digest       {outcome['package_digest']}")
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({**outcome, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
