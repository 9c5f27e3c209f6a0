"""tinker-cookbook, unmodified, trains against this server: SFT, resume, DPO, RL, export, merge.

Installed from the package index in an environment of its own, it runs its own loops on local files
with the built-in base. Held-out loss, preference and reward must improve; a run that is killed must
go on from its checkpoint; what is downloaded and merged must agree with the server's sampler.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence._client_environments import (
    ROOT,
    TORCH,
    environment,
    requirements_without,
    run_client,
    serving,
)
from evidence._helpdesk_tickets import write_tickets
from evidence._report import conclude

VERSION = "0.6.1"
BASE = ROOT / "tinker_engine" / "base" / "nano"
# The checkpoint that DPO and RL start from: the format is learned, the teams only in part.
START = "000030"
# A killed run must have a checkpoint, and steps after it.
KILL_AFTER_STEP = 14
PATIENCE_S = 900
MAX_EXPORT_GAP = 1e-3


def cookbook() -> Path:
    """The interpreter of the cookbook's environment.

    Its requirement tml-renderers concerns model families that are not here, and the version that it
    asks for is not in every index; so its requirements are installed without that one.
    """
    bare = ["--no-deps", f"tinker-cookbook=={VERSION}"]
    probe = environment("cookbook-probe", [bare])
    needed = requirements_without(probe, "tinker-cookbook", "tml-renderers")
    return environment(f"cookbook-{VERSION}", [[TORCH], [TORCH, *needed], bare])


def kill_and_resume(
    start: Callable[[], subprocess.Popen[str]], log: Path, run: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Kill the training between two checkpoints, then run it again to its end."""
    process = start()
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and len(losses(log)) < KILL_AFTER_STEP:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = losses(log)
    reached = run()
    after = reached["train_nll"]
    resumed_at = json.loads((log / "checkpoints.jsonl").read_text("utf-8").splitlines()[0])["batch"]
    return {
        **reached,
        "killed_after_step": len(before),
        "resumed_at_step": resumed_at,
        "nll_first_step": round(before[0], 3) if before else None,
        "nll_last_before_kill": round(statistics.mean(before[-3:]), 3) if before else None,
        "nll_first_after_resume": round(statistics.mean(after[resumed_at : resumed_at + 3]), 3),
    }


def losses(log: Path) -> list[float]:
    """Training losses that a cookbook run has logged so far."""
    file = log / "metrics.jsonl"
    if not file.exists():
        return []
    lines = [line for line in file.read_text("utf-8").splitlines() if line.endswith("}")]
    rows = [json.loads(line) for line in lines]
    return [row["train_mean_nll"] for row in rows if "train_mean_nll" in row]


def main() -> None:
    """Run every recipe and judge what each reached."""
    python = cookbook()
    with tempfile.TemporaryDirectory() as name, serving(Path(name) / "home") as environ:
        figures = recipes(python, Path(name), environ)
    conclude("cookbook", figures, holds=all(judge(figures).values()))


def recipes(python: Path, folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    """The figures of all recipes; each logs to a folder of its own."""
    files, base = write_tickets(folder), str(BASE)
    started = time.monotonic()

    def run(script: str, *arguments: str) -> dict[str, Any]:
        done = run_client(python, script, *arguments, environ=environ)
        if done.returncode != 0:
            conclude("cookbook", {"failed": script, "exit": done.returncode}, holds=False)
        reached: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"{script}: {json.dumps(reached)}", flush=True)
        return reached

    log = folder / "sft"
    sft = base, str(files.conversations), str(log)
    trained = kill_and_resume(
        lambda: subprocess.Popen(
            [str(python), str(ROOT / "tests" / "clients" / "cookbook_sft.py"), *sft],
            env=environ, stdout=subprocess.DEVNULL, start_new_session=True, text=True,
        ),
        log,
        lambda: run("cookbook_sft.py", *sft),
    )  # fmt: skip
    lines = (log / "checkpoints.jsonl").read_text("utf-8").splitlines()
    saved = {record["name"]: record for record in map(json.loads, lines)}
    start, final = saved[START]["state_path"], saved["final"]
    policy = run("cookbook_rl.py", base, str(files.problems), str(folder / "rl"), start)
    pairs = run("cookbook_dpo.py", base, str(files.comparisons), str(folder / "dpo"), start)
    export = run(
        "cookbook_export.py", base, final["state_path"], final["sampler_path"], str(folder / "out")
    )
    return {
        "version": VERSION,
        "seconds": round(time.monotonic() - started),
        "sft": {k: v for k, v in trained.items() if k != "train_nll"},
        "dpo": {name: ends(values) for name, values in pairs.items()},
        "rl": {name: ends(values) for name, values in policy.items()},
        "export": export,
    }


def ends(values: list[float]) -> dict[str, float]:
    """First value, and means of the first and the last quarter."""
    size = max(1, len(values) // 4)
    first, last = statistics.mean(values[:size]), statistics.mean(values[-size:])
    return {"start": round(values[0], 4), "first": round(first, 4), "last": round(last, 4)}


def judge(figures: dict[str, Any]) -> dict[str, bool]:
    """What must hold, by name."""
    sft, dpo, rl, export = (figures[name] for name in ("sft", "dpo", "rl", "export"))
    after = sft["held_out_after"]
    held = {
        "held-out loss falls to a fifth": after["state"] < 0.2 * sft["held_out_before"],
        "both kinds of checkpoint agree": abs(after["state"] - after["sampler"]) < 1e-4,
        "no step is lost or doubled": sft["steps"] == sorted(set(sft["steps"])),
        "it was killed between checkpoints": sft["killed_after_step"] > sft["resumed_at_step"] > 0,
        "it goes on where it was": sft["nll_first_after_resume"] < 0.5 * sft["nll_first_step"],
        "DPO loss falls": dpo["dpo_loss"]["last"] < dpo["dpo_loss"]["start"],
        "DPO prefers the chosen": dpo["accuracy"]["last"] > 0.6 and dpo["margin"]["last"] > 0,
        "reward rises": rl["reward"]["last"] > rl["reward"]["first"],
        "held-out reward rises": rl["held_out_reward"]["last"] > rl["held_out_reward"]["first"],
        "merged model agrees": export["largest_gap_to_server"] < MAX_EXPORT_GAP,
        "merged model is trained": export["largest_gap_to_base"] > 1,
    }
    for claim, is_so in held.items():
        print(f"{'yes' if is_so else 'NO':<4} {claim}")
    return held


if __name__ == "__main__":
    main()
