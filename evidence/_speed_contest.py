"""Contenders in processes of their own, one after the other in turning order, and their medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence import _speed_model as setting

ENGINE, TRL, PEFT, OPACUS = (
    f"evidence._speed_{name}" for name in ("engine", "trl", "peft", "opacus")
)
ENGINE_DPO, TRL_DPO = "evidence._speed_dpo", "evidence._speed_trl_dpo"
FP32, BF16 = ("--precision", "fp32"), ("--precision", "bf16")
CONTENDERS: Mapping[str, tuple[str, ...]] = {
    "engine auto": (ENGINE,),
    "engine fp32": (ENGINE, *FP32),
    "engine bf16": (ENGINE, *BF16),
    "engine auto, private": (ENGINE, "--private"),
    "engine fp32, private": (ENGINE, *FP32, "--private"),
    "engine auto, SDK": (ENGINE, "--sdk"),
    "TRL default": (TRL, "--mode", "default"),
    "TRL packed bf16": (TRL, "--mode", "packed"),
    "TRL grouped bf16": (TRL, "--mode", "grouped"),
    "PEFT bucketed fp32": (PEFT, *FP32),
    "PEFT bucketed bf16": (PEFT, *BF16),
    "Opacus fp32": (OPACUS,),
    "engine DPO bf16": (ENGINE_DPO, *BF16),
    "engine DPO fp32": (ENGINE_DPO, *FP32),
    "engine DPO bf16, with reference": (ENGINE_DPO, *BF16, "--with-reference"),
    "TRL DPO default": (TRL_DPO, "--mode", "default"),
    "TRL DPO fp32": (TRL_DPO, "--mode", "fp32"),
    "TRL DPO bf16": (TRL_DPO, "--mode", "bf16"),
}
Results = dict[str, list[dict[str, float]]]


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
    folder: Path, names: Sequence[str], rounds: int, threads: int, unit: str = "tokens"
) -> Results:
    """All contenders one after the other, `rounds` times, in an order that turns each round.

    What a contender reports as its tokens may be another `unit`, such as pairs.
    """
    digits = 0 if unit == "tokens" else 2
    results: Results = {name: [] for name in names}
    for number in range(rounds):
        turned = [*names[number % len(names) :], *names[: number % len(names)]]
        for name in turned:
            found = run(name, folder, threads)
            results[name].append(found)
            rate = f"{found['tokens_per_cpu_s']:7.{digits}f} {unit}/CPU-s"
            print(
                f"round {number + 1}  {name:<31} {rate} {found['memory_mb']:7.0f} MB above idle",
                flush=True,
            )
    return results


def median(found: Sequence[dict[str, float]], figure: str) -> float:
    return statistics.median(row[figure] for row in found)


def table(results: Results, ceiling: dict[str, float]) -> None:
    """Medians, and the share of the ceiling that useful work reached."""
    flop = setting.flop_per_token()
    print(
        f"\nuseful work: {flop / 1e6:.0f} MFLOP per token; one thread's matrix products: ", end=""
    )
    print(", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in ceiling.items()))
    print(f"{'':<31} {'tokens/CPU-s':>12} {'of fp32':>8} {'of bf16':>8} {'MB above idle':>14}")
    for name, found in results.items():
        rate = median(found, "tokens_per_cpu_s")
        shares = [rate * flop / 1e9 / ceiling[kind] for kind in ("fp32", "bf16")]
        print(
            f"{name:<31} {rate:12.0f} {shares[0]:8.0%} {shares[1]:8.0%} "
            f"{median(found, 'memory_mb'):14.0f}"
        )
