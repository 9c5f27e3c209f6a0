"""200 sampling clients and two training runs: no error, bounded memory, quick `healthz`.

The server, the clients, the two runs and the watcher of `healthz` are processes of their own on
loopback. Memory is the server's resident set; it is bounded if the last third of the time needs at
most a tenth more than the second third did.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from evidence._report import conclude
from evidence._served import Served
from evidence._train import ROOT
from evidence._wire_belongings import client, make

CLIENTS, PROGRAMS, RUNS = 200, 8, 2
HEALTH_LIMIT_S = 0.2
GROWTH_LIMIT = 1.1
_PAUSE_S = 0.1


@dataclass
class Watch:
    """What was seen of the server while it worked."""

    served: Served
    health_s: list[float] = field(default_factory=list[float])
    at_s: list[float] = field(default_factory=list[float])
    memory_bytes: list[int] = field(default_factory=list[int])
    failures: list[str] = field(default_factory=list[str])
    is_over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Ask `healthz` ten times a second on a connection that stays open, and read the memory."""
        statm = Path(f"/proc/{self.served.process_id}/statm")
        with httpx.Client(base_url=self.served.base_url, trust_env=False) as http:
            began_at = time.perf_counter()
            while not self.is_over.wait(_PAUSE_S):
                started_at = time.perf_counter()
                self.at_s.append(started_at - began_at)
                try:
                    http.get("/api/v1/healthz", timeout=30).raise_for_status()
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                self.health_s.append(time.perf_counter() - started_at)
                self.memory_bytes.append(int(statm.read_text("ascii").split()[1]) * 4096)


def start(*words: str) -> subprocess.Popen[str]:
    """A process of `evidence._load_clients`."""
    return subprocess.Popen(
        [sys.executable, "-m", "evidence._load_clients", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """What a process printed at its end."""
    output, _ = process.communicate(timeout=seconds + 180)
    return json.loads(output) if process.returncode == 0 else {"errors": ["the process failed"]}


def percentile(values: list[float], share: float) -> float:
    """The value that a share of the values does not pass; NaN for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def put_load(served: Served, keys: list[str], seconds: float, clients: int) -> dict[str, Any]:
    """Run everything at once; gives the figures and `holds`."""
    with client(served.base_url, keys[0]) as http:
        make(http, "load")
    watch = Watch(served)
    watcher = threading.Thread(target=watch.look)
    watcher.start()
    started_at = time.monotonic()
    words = (served.base_url, keys[0], str(seconds))
    sampling = start("sample", *words, str(clients), str(PROGRAMS))
    training = [start("train", served.base_url, key, str(seconds)) for key in keys[1:]]
    sampled = told(sampling, seconds)
    trained = [told(process, seconds) for process in training]
    wall_s = time.monotonic() - started_at
    watch.is_over.set()
    watcher.join()
    errors = [*sampled["errors"], *(e for run in trained for e in run["errors"]), *watch.failures]
    third = len(watch.memory_bytes) // 3
    early, late = watch.memory_bytes[third : 2 * third], watch.memory_bytes[2 * third :]
    growth = max(late) / max(early) if early and late else float("nan")
    times = sampled.get("seconds", [])
    steps = [len(run.get("losses", [])) for run in trained]
    for line in errors[:10]:
        print(line)
    slow = sorted(zip(watch.health_s, watch.at_s, strict=True), reverse=True)[:5]
    print("slowest healthz:", ", ".join(f"{1000 * s:.0f} ms at {at:.0f} s" for s, at in slow))
    return {
        "seconds": round(wall_s, 1),
        "clients": clients,
        "samples": len(times),
        "samples_per_s": round(len(times) / wall_s, 1),
        "sample_p50_s": round(percentile(times, 0.5), 3),
        "sample_p95_s": round(percentile(times, 0.95), 3),
        "steps": steps,
        "healthz_median_ms": round(1000 * statistics.median(watch.health_s), 1),
        "healthz_p99_ms": round(1000 * percentile(watch.health_s, 0.99), 1),
        "healthz_max_ms": round(1000 * max(watch.health_s), 1),
        "memory_peak_mb": round(max(watch.memory_bytes) / 2**20),
        "memory_growth": round(growth, 3),
        "errors": len(errors),
    }


def main() -> None:
    """Put load on a server of our own."""
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=300.0)
    options.add_argument("--clients", type=int, default=CLIENTS)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        served = Served(Path(name), "--threads", "1")
        keys = [served.new_key(who) for who in ("samples", *(f"run-{i}" for i in range(RUNS)))]
        with served:
            figures = put_load(served, keys, asked.seconds, asked.clients)
            is_alive, tracebacks = served.is_alive(), served.tracebacks()
    for name, value in figures.items():
        print(f"{name}: {value}")
    holds = (
        figures["errors"] == 0
        and is_alive
        and not tracebacks
        and figures["samples"] > figures["clients"]
        and all(steps > 1 for steps in figures["steps"])
        and figures["healthz_max_ms"] < 1000 * HEALTH_LIMIT_S
        and figures["memory_growth"] <= GROWTH_LIMIT
    )
    conclude("load", figures, holds=holds)


if __name__ == "__main__":
    main()
