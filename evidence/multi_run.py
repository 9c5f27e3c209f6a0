"""Eight runs trained at once by eight processes, against the same eight one after the other.

They differ in rank, alpha and targets, and one is private (with seeded noise, for this comparison
alone). Must hold: each run's weights, and its B alone, are the same either way, to 1e-5 of their
norm in fp32, and the server and its clients handle more tokens per CPU-second when the runs come
together.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evidence._report import conclude

TOLERANCE = 1e-5
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Trained:
    """Weights of each run by tensor name, and what the training of all of them took."""

    weights: list[dict[str, Any]]
    tokens: int
    server_s: float
    clients_s: float

    @property
    def rate(self) -> float:
        """Tokens per CPU-second of the server and its clients."""
        return self.tokens / (self.server_s + self.clients_s)


@contextmanager
def server(home: Path) -> Generator[tuple[int, dict[str, str]]]:
    """A server in a process of its own: its process id, and what clients need to reach it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "evidence._multi_server", str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD, "HF_HUB_OFFLINE": "1"},
    )
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        yield (
            process.pid,
            {
                "TINKER_BASE_URL": facts["base_url"],
                "TINKER_API_KEY": facts["api_key"],
            },
        )
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def train(runs: Sequence[int], home: Path, pid: int, address: dict[str, str]) -> Trained:
    """Train runs at the same time, each by a process of its own."""
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "evidence._multi_client", str(run)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD, **address},
        )
        for run in runs
    ]
    for client in clients:
        assert client.stdout is not None
        if client.stdout.readline().strip() != "ready":
            sys.exit("a client could not make its run")
    before = cpu_seconds(pid)
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    lines: list[str] = []
    for client in clients:
        assert client.stdout is not None
        lines.append(client.stdout.readline())
    spent = cpu_seconds(pid) - before
    for client in clients:
        client.communicate()
        if client.returncode != 0:
            sys.exit(f"a client failed with {client.returncode}")
    told = [json.loads(line) for line in lines]
    return Trained(
        [weights_at(home, fact["path"]) for fact in told],
        sum(fact["tokens"] for fact in told),
        spent,
        sum(fact["cpu_s"] for fact in told),
    )


def weights_at(home: Path, path: str) -> dict[str, Any]:
    """All tensors of a saved adapter."""
    from safetensors.torch import load_file

    from tinker_engine.protocol.paths import parse_path
    from tinker_engine.storage.checkpoints import CheckpointFolders

    folder, _ = CheckpointFolders(home / "runs").open(parse_path(path))
    return load_file(folder / "adapter_model.safetensors")


def difference(ours: dict[str, Any], theirs: dict[str, Any], *, part: str = "") -> float:
    """Norm of the difference over the norm, of all weights with `part` in their name together."""
    names = [name for name in theirs if part in name]
    apart = sum(float((ours[n].double() - theirs[n].double()).square().sum()) for n in names)
    whole = sum(float(theirs[n].double().square().sum()) for n in names)
    return (apart / whole) ** 0.5


def one_by_one(count: int, home: Path, pid: int, address: dict[str, str]) -> Trained:
    """The same runs, each when the one before has ended."""
    parts = [train([run], home, pid, address) for run in range(count)]
    return Trained(
        [part.weights[0] for part in parts],
        sum(part.tokens for part in parts),
        sum(part.server_s for part in parts),
        sum(part.clients_s for part in parts),
    )


def main() -> None:
    """Train both ways in turn, compare weights and rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    from evidence._multi_client import RUNS

    worst, worst_b = [0.0] * len(RUNS), [0.0] * len(RUNS)
    apart: list[Trained] = []
    together: list[Trained] = []
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as (pid, address):
        home = Path(name)
        # What a process does once a lifetime belongs to neither side.
        train([0], home, pid, address)
        for number in range(options.rounds):
            apart.append(one_by_one(len(RUNS), home, pid, address))
            together.append(train(range(len(RUNS)), home, pid, address))
            for run in range(len(RUNS)):
                pair = together[-1].weights[run], apart[-1].weights[run]
                worst[run] = max(worst[run], difference(*pair))
                # B starts at zero: all of it is what training made.
                worst_b[run] = max(worst_b[run], difference(*pair, part="lora_B"))
            for kind, one in (("one by one", apart[-1]), ("together", together[-1])):
                print(
                    f"round {number + 1}  {kind:<11} {one.tokens} tokens  {one.rate:6.0f} a "
                    f"CPU-second (server {one.server_s:.2f} s, clients {one.clients_s:.2f} s)",
                    flush=True,
                )
    for run, found in enumerate(worst):
        facts = {k: v for k, v in RUNS[run].items() if k != "metadata"}
        private = ", private" if "metadata" in RUNS[run] else ""
        print(f"run {run}{private} {facts}: differs by {found:.1e} (B alone {worst_b[run]:.1e})")
    ratios = [b.rate / a.rate for a, b in zip(apart, together, strict=True)]
    servers = [a.server_s / b.server_s for a, b in zip(apart, together, strict=True)]
    figures = {
        "runs": len(RUNS),
        "largest_difference": max(worst),
        "largest_difference_of_b_alone": max(worst_b),
        "tokens_per_cpu_s_one_by_one": round(statistics.median(a.rate for a in apart)),
        "tokens_per_cpu_s_together": round(statistics.median(b.rate for b in together)),
        "times_one_by_one": round(statistics.median(ratios), 2),
        "times_one_by_one_server_alone": round(statistics.median(servers), 2),
    }
    is_same = max(*worst, *worst_b) < TOLERANCE
    conclude("multi-run", figures, holds=is_same and statistics.median(ratios) > 1)


if __name__ == "__main__":
    main()
