"""A training step against TRL's SFTTrainer and against the machine's own ceiling.

Must hold, in tokens per CPU-second at one thread and medians of alternating rounds: at least 2.5
times TRL's default, 1.3 times its best configuration, at most half of its leanest memory above
idle, and a private step within 1.15 times the cost of a non-private one. Padding counts for nobody.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path

from evidence import _speed_model as setting
from evidence._report import conclude
from evidence._speed_contest import Results, alternate, gemm_ceiling, median, table

SFT = (
    "engine auto",
    "engine fp32",
    "engine bf16",
    "engine auto, private",
    "engine auto, SDK",
    "TRL default",
    "TRL packed bf16",
    "TRL grouped bf16",
)
PEERS = tuple(name for name in SFT if name.startswith("TRL"))
PAIR = "engine auto", "engine auto, private"
NEEDED = (*PAIR, *PEERS)


def judge(results: Results, ceiling: dict[str, float]) -> None:
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
        names = NEEDED if options.brief else SFT
        results = alternate(folder, names, options.rounds, threads=1)
        table(results, ceiling)
        if options.wall:
            print("\nwall, two threads:")
            for contender, found in alternate(folder, names, 1, threads=2).items():
                print(f"{contender:<31} {median(found, 'tokens_per_s'):7.0f} tokens/s")
    judge(results, ceiling)


if __name__ == "__main__":
    main()
