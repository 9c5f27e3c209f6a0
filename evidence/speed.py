"""The engine's speed against what people would use in its place, all in one run.

Supervised steps against TRL and plain PEFT loops, private steps against Opacus, preference steps
against TRL, sampling against transformers' `generate` and llama.cpp: contenders alternate, in
processes of their own with one thread; figures are medians per CPU-second, and ratios of them.

Must hold: SFT 3.9 times TRL's default, 1.8 times its best, 1.3 times the best length-sorted PEFT
loop at equal precision, with at most half of the leanest peer's memory above idle; a private step
within 1.05 times a non-private one, 2.5 times Opacus at a third of its memory; DPO 2.5 times TRL
at equal precision (each of fp32 and bf16) and 1.7 times its best; sampling 32 at a time with an
adapter 2.2 times `generate` and 1.05 times llama.cpp in bf16, the adapter costing less than 5%.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from evidence import _speed_model as setting
from evidence import speed_sampling
from evidence._report import conclude
from evidence._speed_contest import Results, alternate, gemm_ceiling, median, table

TRL = ("TRL default", "TRL packed bf16", "TRL grouped bf16")
PEFT = {"fp32": "PEFT bucketed fp32", "bf16": "PEFT bucketed bf16"}
SFT = ("engine auto", "engine fp32", "engine bf16", *TRL, *PEFT.values())
PRIVATE = ("engine auto", "engine auto, private", "engine fp32", "engine fp32, private")
OPACUS = "Opacus fp32"
DPO_WHOLE = "engine DPO bf16, with reference"
DPO = (
    "engine DPO bf16",
    "engine DPO fp32",
    DPO_WHOLE,
    "TRL DPO default",
    "TRL DPO fp32",
    "TRL DPO bf16",
)
PARTS = ("sft", "private", "dpo", "sampling")
# Ratios that must be reached, and those that must not be passed.
AT_LEAST = {
    "sft_times_trl_default": 3.9,
    "sft_times_trl_best": 1.8,
    "sft_times_peft_fp32": 1.3,
    "sft_times_peft_bf16": 1.3,
    "private_times_opacus": 2.5,
    "dpo_times_trl_fp32": 2.5,
    "dpo_times_trl_default": 2.5,
    "dpo_times_trl_best": 1.7,
}
AT_MOST = {
    "sft_memory_of_leanest": 0.5,
    "private_step_cost": 1.05,
    "private_memory_of_opacus": 1 / 3,
}


def _rate(results: Results, name: str) -> float:
    return median(results[name], "tokens_per_cpu_s")


def _memory(results: Results, names: Sequence[str]) -> float:
    return min(median(results[name], "memory_mb") for name in names)


def sft_ratios(results: Results) -> dict[str, float]:
    """A step as the engine takes it by itself, and at each precision."""
    auto, peers = _rate(results, "engine auto"), (*TRL, *PEFT.values())
    return {
        "sft_times_trl_default": auto / _rate(results, TRL[0]),
        "sft_times_trl_best": auto / max(_rate(results, name) for name in TRL),
        **{
            f"sft_times_peft_{kind}": _rate(results, f"engine {kind}") / _rate(results, peer)
            for kind, peer in PEFT.items()
        },
        "sft_memory_of_leanest": _memory(results, ["engine auto"]) / _memory(results, peers),
    }


def private_ratios(results: Results) -> dict[str, float]:
    """Each round's pair ran under much the same load: its ratio says more than two medians."""
    costs = [
        a["tokens_per_cpu_s"] / b["tokens_per_cpu_s"]
        for a, b in zip(results["engine auto"], results["engine auto, private"], strict=True)
    ]
    name = "engine fp32, private"
    return {
        "private_step_cost": statistics.median(costs),
        "private_times_opacus": _rate(results, name) / _rate(results, OPACUS),
        "private_memory_of_opacus": _memory(results, [name]) / _memory(results, [OPACUS]),
    }


def dpo_ratios(results: Results) -> dict[str, float]:
    """TRL's default computes its reference in every step, so there ours is counted too."""
    fp32, bf16, whole = (
        _rate(results, name) for name in ("engine DPO fp32", "engine DPO bf16", DPO_WHOLE)
    )
    return {
        "dpo_times_trl_fp32": fp32 / _rate(results, "TRL DPO fp32"),
        "dpo_times_trl_default": whole / _rate(results, "TRL DPO default"),
        "dpo_times_trl_best": bf16 / max(_rate(results, n) for n in DPO if n.startswith("TRL")),
    }


def misses(ratios: dict[str, float]) -> list[str]:
    """Each figure that falls short, and by how much."""
    short = [
        f"{name} is {ratios[name]:.3f}, less than {bound}"
        for name, bound in AT_LEAST.items()
        if name in ratios and ratios[name] < bound
    ]
    over = [
        f"{name} is {ratios[name]:.3f}, more than {bound:.3f}"
        for name, bound in AT_MOST.items()
        if name in ratios and ratios[name] > bound
    ]
    return short + over


def pairs_table(results: Results) -> None:
    """Pairs per CPU-second of the preference contenders."""
    print(f"\n{'':<31} {'pairs/CPU-s':>12} {'MB above idle':>14}")
    for name in DPO:
        print(f"{name:<31} {_rate(results, name):12.2f} {median(results[name], 'memory_mb'):14.0f}")


def train_contest(
    parts: Sequence[str], sequences: int, rounds: int, ceiling: dict[str, float]
) -> dict[str, float]:
    """Ratios of the training parts that were asked for."""
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        setting.build(folder, sequences)
        total = setting.tokens_of(setting.sequences_in(folder))
        print(f"{sequences} sequences, {total} tokens, batches of {setting.BATCH}")
        steps = [n for part, names in (("sft", SFT), ("private", PRIVATE)) if part in parts
                 for n in names]  # fmt: skip
        if "private" in parts:
            steps.append(OPACUS)
        if steps:
            results = alternate(folder, tuple(dict.fromkeys(steps)), rounds, threads=1)
            table(results, ceiling)
            ratios |= sft_ratios(results) if "sft" in parts else {}
            ratios |= private_ratios(results) if "private" in parts else {}
        if "dpo" in parts:
            results = alternate(folder, DPO, rounds, threads=1, unit="pairs")
            pairs_table(results)
            ratios |= dpo_ratios(results)
    return ratios


def main() -> None:
    """Measure what was asked for, by default everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    options = parser.parse_args()
    if any(importlib.util.find_spec(name) is None for name in ("trl", "opacus")):
        sys.exit('a peer is absent: pip install -e ".[peer]" installs them, then run this again')
    parts = options.part or PARTS
    ceiling = gemm_ceiling()
    ratios = train_contest(parts, options.sequences, options.rounds, ceiling)
    figures: dict[str, object] = {name: round(value, 3) for name, value in ratios.items()}
    holds = True
    if "sampling" in parts:
        sampling = speed_sampling.contest(options.rounds, ceiling)
        figures["sampling"], holds = sampling.figures, sampling.holds
    for miss in misses(ratios):
        print(f"falls short: {miss}")
    figures["gemm_gflops"] = {name: round(rate) for name, rate in ceiling.items()}
    # The claim is of all parts; some of them conclude under their own names.
    name = "speed" if set(parts) == set(PARTS) else f"speed, {' and '.join(parts)}"
    conclude(name, figures, holds=holds and not misses(ratios))


if __name__ == "__main__":
    main()
