"""Scale: 1,000,000 rows analysed, deduplicated and split in bounded memory and linear time.

Must hold: peak memory of every process under 1.5 GB; CPU seconds at 1,000,000 rows at most 13
times those at 100,000; all planted exact repeats found, and planted near-duplicates kept on one
side at 0.99 or more; no near-duplicate between 2,000 test and 20,000 training examples, all
compared; near-duplicates found at 3 times the throughput of rensa fed by Python shingles, the two
alternating on 50,000 texts.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence import _scale_work
from evidence._report import conclude
from evidence._scale_corpus import write_corpus

SMALL, LARGE = 100_000, 1_000_000
MAX_RSS_MB, MAX_RATIO, MIN_RECALL, MIN_SPEEDUP = 1536, 13.0, 0.99, 3.0
PEER_TEXTS, ROUNDS = 50_000, 3


def in_child(work: str, corpus: Path) -> dict[str, Any]:
    """Runs one part of `_scale_work` in a process of its own, and prints what it came to."""
    command = [sys.executable, "-m", "evidence._scale_work", work, str(corpus)]
    # One thread: the figures are per core.
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    figures["rows_per_second"] = round(figures["rows"] / figures["seconds"])
    figures["rows_per_cpu_second"] = round(figures["rows"] / figures["cpu_seconds"])
    print(work, json.dumps(figures), flush=True)
    return figures


def against_peer(corpus: Path) -> dict[str, Any]:
    """Texts per CPU second of both ways, each in turn, on the first questions of the corpus."""
    with corpus.open(encoding="utf-8", newline="") as file:
        rows = itertools.islice(csv.DictReader(file), PEER_TEXTS)
        questions = [row["question"] for row in rows]
    ways: dict[str, Callable[[list[str]], int]] = {
        "tensafe": _scale_work.join_with_tensafe,
        "rensa": _scale_work.join_with_rensa,
    }
    best = dict.fromkeys(ways, 0.0)
    joins: dict[str, int] = {}
    for way in ways.values():
        way(questions[:500])
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            joins[name] = way(questions)
            best[name] = max(best[name], PEER_TEXTS / (time.process_time() - start))
    figures: dict[str, Any] = {
        f"{name}_texts_per_cpu_second": round(value) for name, value in best.items()
    }
    figures["speedup"] = round(best["tensafe"] / best["rensa"], 2)
    figures["joins"] = joins
    print("near-duplicates of 50,000 texts", json.dumps(figures), flush=True)
    return figures


def main() -> None:
    """Both sizes and the peer, judged."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=LARGE, help="Size of the large corpus.")
    large: int = parser.parse_args().rows
    runs: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in (SMALL, large):
            corpus = write_corpus(Path(folder) / f"{rows}.csv", rows)
            corpus.write_plan()
            print(f"{rows} rows, {corpus.path.stat().st_size / 1e6:.0f} MB", flush=True)
            runs[rows] = {work: in_child(work, corpus.path) for work in ("analyze", "curate")}
        peer = against_peer(Path(folder) / f"{SMALL}.csv")
    ratios = {
        work: round(runs[large][work]["cpu_seconds"] / runs[SMALL][work]["cpu_seconds"], 2)
        for work in ("analyze", "curate")
    }
    parts = [part for run in runs.values() for part in run.values()]
    curated = [run["curate"] for run in runs.values()]
    holds = (
        all(part["peak_rss_mb"] < MAX_RSS_MB for part in parts)
        and all(ratio <= MAX_RATIO * large / LARGE for ratio in ratios.values())
        and all(run["exact_recall"] == 1.0 and run["near_recall"] >= MIN_RECALL for run in curated)
        and all(run["near_across_split"] == 0 for run in curated)
        and peer["speedup"] >= MIN_SPEEDUP
    )
    figures = {"cpu_ratios": ratios, "peer": peer, **{str(k): v for k, v in runs.items()}}
    conclude("scale", figures, holds=holds)


if __name__ == "__main__":
    main()
