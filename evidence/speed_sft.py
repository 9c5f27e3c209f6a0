"""A training step against TRL's SFTTrainer and against the machine's own ceiling.

Must hold, in tokens per CPU-second at one thread and medians of alternating rounds: at least 2.5
times TRL's default, 1.3 times its best configuration, at most half of its leanest memory above
idle, and a private step within 1.15 times the cost of a non-private one. Padding counts for nobody.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evidence import _speed_model as setting
from evidence._report import conclude

ENGINE, TRL = "evidence._speed_engine", "evidence._speed_trl"
CONTENDERS: dict[str, tuple[str, ...]] = {
    "engine auto": (ENGINE,),
    "engine fp32": (ENGINE, "--precision", "fp32"),
    "engine bf16": (ENGINE, "--precision", "bf16"),
    "engine auto, private": (ENGINE, "--private"),
    "engine auto, SDK": (ENGINE, "--sdk"),
    "TRL default": (TRL, "--mode", "default"),
    "TRL packed bf16": (TRL, "--mode", "packed"),
    "TRL grouped bf16": (TRL, "--mode", "grouped"),
}
PEERS = tuple(name for name in CONTENDERS if name.startswith("TRL"))
PAIR = "engine auto", "engine auto, private"
NEEDED = (*PAIR, "TRL default", "TRL packed bf16")


def run(contender: str, folder: Path, threads: int) -> dict[str, float]:
    """One contender in a process of its own; its figures."""
    module, *options = CONTENDERS[contender]
    command = [sys.executable, "-m", module, str(folder), *options, "--threads", str(threads)]
    limits = {n: str(threads) for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environ = {**os.environ, **limits, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    if done.returncode != 0:
        sys.exit(f"{contender} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def gemm_ceiling() -> dict[str, float]:
    """GFLOP/s of one thread on the model's own products, 2,048 rows, per precision."""
    import torch

    torch.set_num_threads(1)
    rates: dict[str, float] = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        work = spent = 0.0
        for width_in, width_out in setting.LINEARS:
            x = torch.randn(2048, width_in, dtype=dtype)
            weight = torch.randn(width_out, width_in, dtype=dtype)
            torch.nn.functional.linear(x, weight)
            best = min(_cpu_seconds(x, weight) for _ in range(5))
            work += 2.0 * 2048 * width_in * width_out
            spent += best
        rates[name] = work / spent / 1e9
    return rates


def _cpu_seconds(x: Any, weight: Any) -> float:
    import torch

    started = time.process_time()
    torch.nn.functional.linear(x, weight)
    return time.process_time() - started


def alternate(
    folder: Path, names: Sequence[str], rounds: int, threads: int
) -> dict[str, list[dict[str, float]]]:
    """All contenders one after the other, `rounds` times, in an order that turns each round."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        turned = [*names[number % len(names) :], *names[: number % len(names)]]
        for name in turned:
            found = run(name, folder, threads)
            results[name].append(found)
            print(
                f"round {number + 1}  {name:<22} {found['tokens_per_cpu_s']:7.0f} tokens/CPU-s "
                f"{found['memory_mb']:7.0f} MB above idle",
                flush=True,
            )
    return results


def median(found: Sequence[dict[str, float]], figure: str) -> float:
    return statistics.median(row[figure] for row in found)


def table(results: dict[str, list[dict[str, float]]], ceiling: dict[str, float]) -> None:
    """Medians, and the share of the ceiling that useful work reached."""
    flop = setting.flop_per_token()
    print(
        f"\nuseful work: {flop / 1e6:.0f} MFLOP per token; one thread's matrix products: ", end=""
    )
    print(", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in ceiling.items()))
    print(f"{'':<22} {'tokens/CPU-s':>12} {'of fp32':>8} {'of bf16':>8} {'MB above idle':>14}")
    for name, found in results.items():
        rate = median(found, "tokens_per_cpu_s")
        shares = [rate * flop / 1e9 / ceiling[kind] for kind in ("fp32", "bf16")]
        print(
            f"{name:<22} {rate:12.0f} {shares[0]:8.0%} {shares[1]:8.0%} "
            f"{median(found, 'memory_mb'):14.0f}"
        )


def judge(results: dict[str, list[dict[str, float]]], ceiling: dict[str, float]) -> None:
    """Ratios of medians against what must hold."""
    rates = {name: median(found, "tokens_per_cpu_s") for name, found in results.items()}
    memory = {name: median(found, "memory_mb") for name, found in results.items()}
    # Each round's pair ran under much the same load, so its ratio says more than two medians.
    plain, private = (results[name] for name in PAIR)
    costs = [
        a["tokens_per_cpu_s"] / b["tokens_per_cpu_s"] for a, b in zip(plain, private, strict=True)
    ]
    ratios = {
        "times_trl_default": rates[PAIR[0]] / rates["TRL default"],
        "times_trl_best": rates[PAIR[0]] / max(rates[name] for name in rates if name in PEERS),
        "memory_of_leanest_trl": memory[PAIR[0]]
        / min(memory[name] for name in memory if name in PEERS),
        "private_step_cost": statistics.median(costs),
    }
    holds = (
        ratios["times_trl_default"] >= 2.5
        and ratios["times_trl_best"] >= 1.3
        and ratios["memory_of_leanest_trl"] <= 0.5
        and ratios["private_step_cost"] <= 1.15
    )
    figures = {
        **{name: round(value, 3) for name, value in ratios.items()},
        "tokens_per_cpu_s": {name: round(rate) for name, rate in rates.items()},
        "memory_mb": {name: round(size) for name, size in memory.items()},
        "gemm_gflops": {name: round(rate) for name, rate in ceiling.items()},
    }
    conclude("speed-sft", figures, holds=holds)


def main() -> None:
    """Build, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--brief", action="store_true", help="only what the claim names")
    parser.add_argument("--wall", action="store_true", help="wall time at two threads as well")
    options = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        sys.exit('TRL is absent: pip install -e ".[peer]" installs it, then run this again')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setting.build(folder, options.sequences)
        total = setting.tokens_of(setting.sequences_in(folder))
        print(f"{options.sequences} sequences, {total} tokens, batches of {setting.BATCH}")
        ceiling = gemm_ceiling()
        names = NEEDED if options.brief else tuple(CONTENDERS)
        results = alternate(folder, names, options.rounds, threads=1)
        table(results, ceiling)
        if options.wall:
            print("\nwall, two threads:")
            for contender, found in alternate(folder, names, 1, threads=2).items():
                print(f"{contender:<22} {median(found, 'tokens_per_s'):7.0f} tokens/s")
    judge(results, ceiling)


if __name__ == "__main__":
    main()
