"""Sampling against transformers' `generate` and llama.cpp on the same model.

Batches of 1, 8 and 32, prompts of 64 tokens, 48 new ones, greedy, with and without a LoRA adapter;
new tokens per CPU-second at one thread, prompt included, medians of alternating rounds. Must hold
at 32: at least 2.2 times `generate` with a PEFT adapter as the model is loaded by default (fp32),
1.05 times llama.cpp in bf16, and an adapter that costs less than 5%. llama.cpp counts where
llama-cpp-python can be imported (by this interpreter, or by the one that LLAMA_CPP_PYTHON names)
and was built for this processor's bf16 products; else its rates are shown and nothing is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from evidence import _sampling_work as work
from evidence import _speed_model as setting
from evidence._report import conclude
from evidence._speed_contest import gemm_ceiling

Rates = dict[str, float]


class Verdict(NamedTuple):
    """What was measured, and whether the claim holds."""

    figures: dict[str, object]
    holds: bool


CONTENDERS: dict[str, tuple[str, ...]] = {
    "engine": ("-m", "evidence._sampling_engine", "{folder}", "auto"),
    "engine fp32": ("-m", "evidence._sampling_engine", "{folder}", "fp32"),
    "HF fp32": ("-m", "evidence._sampling_hf", "{folder}", "float32"),
    "HF bf16": ("-m", "evidence._sampling_hf", "{folder}", "bfloat16"),
    "llama.cpp bf16": ("evidence/_sampling_llama.py",),
}
LLAMA = "llama.cpp bf16"


def run(contender: str, folder: Path, interpreter: str) -> Rates:
    """One contender in a process of its own, at one thread; its rates.

    llama.cpp's also say whether it was built for the processor's bf16 (`is_native`, 1 or 0).
    """
    options = [part.format(folder=folder) for part in CONTENDERS[contender]]
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environ = {**os.environ, **limits, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    asked = {
        "path": str(folder / "base-bf16.gguf"),
        "prompts": {str(batch): work.prompts(batch, 1) for batch in work.BATCHES},
        "new": work.NEW,
    }
    done = subprocess.run(
        [interpreter, *options],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{contender} failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if contender != LLAMA:
        return found
    return {**found["rates"], "is_native": float(found["has_avx512_bf16"])}


def llama_interpreter() -> str | None:
    """The interpreter that has llama-cpp-python, if any."""
    interpreter = os.environ.get("LLAMA_CPP_PYTHON", sys.executable)
    if shutil.which(interpreter) is None:
        sys.exit(f"LLAMA_CPP_PYTHON: {interpreter} is no program; name a Python interpreter")
    found = subprocess.run(
        [interpreter, "-c", "import llama_cpp"], capture_output=True, check=False
    )
    return interpreter if found.returncode == 0 else None


def alternate(
    folder: Path, names: list[str], rounds: int, llama: str | None
) -> dict[str, list[Rates]]:
    """All contenders one after the other, `rounds` times, in an order that turns each round."""
    results: dict[str, list[Rates]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            interpreter = llama if name == LLAMA and llama is not None else sys.executable
            rates = run(name, folder, interpreter)
            results[name].append(rates)
            shown = "  ".join(f"{what} {rate:.0f}" for what, rate in rates.items())
            print(f"round {number + 1}  {name:<15} {shown}", flush=True)
    return results


def flop_per_new_token() -> float:
    """Products of a new token and of its share of the prompt; attention scores left out."""
    blocks = sum(i * o for i, o in setting.LINEARS) * setting.LAYERS
    return 2.0 * (blocks * (work.PROMPT + work.NEW) / work.NEW + 512 * setting.VOCAB)


def main() -> None:
    """Build, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--brief", action="store_true", help="one round of what the claim names")
    options = parser.parse_args()
    verdict = contest(1 if options.brief else options.rounds, gemm_ceiling(), brief=options.brief)
    conclude("speed-sampling", verdict.figures, holds=verdict.holds)


def contest(rounds: int, ceiling: dict[str, float], *, brief: bool = False) -> Verdict:
    """Build the model, alternate, compare; brief: the engine and `generate` alone."""
    llama = llama_interpreter()
    names = ["engine", "HF fp32"] if brief else [n for n in CONTENDERS if n != LLAMA]
    if llama is None:
        print("llama-cpp-python can't be imported: that part of the claim was not checked")
    else:
        names.append(LLAMA)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work.build(folder)
        if llama is not None:
            work.write_gguf(folder)
        results = alternate(folder, names, rounds, llama)
    return judge(results, ceiling)


def llama_is_native(rates: dict[str, Rates]) -> bool:
    """Whether llama.cpp took part with all that this processor can do; says so where not."""
    import torch

    if LLAMA not in rates:
        return False
    abilities = torch.cpu.get_capabilities()
    is_native = bool(rates[LLAMA].pop("is_native")) or not abilities.get("avx512_bf16")
    if not is_native:
        print(
            "this llama-cpp-python was built without AVX512_BF16, which this processor has: its "
            "rates are not the best it can do, and nothing is claimed against it"
        )
    return is_native


def judge(results: dict[str, list[Rates]], ceiling: dict[str, float]) -> Verdict:
    """Medians, ratios, and the distance to the machine's matrix products."""
    rates = {
        name: {what: statistics.median(row[what] for row in rows) for what in rows[0]}
        for name, rows in results.items()
    }
    flop = flop_per_new_token() / 1e9
    print(f"\nnew tokens per CPU-second; ceiling {ceiling['bf16'] / flop:.0f} in bf16, "
          f"{ceiling['fp32'] / flop:.0f} in fp32")  # fmt: skip
    columns = [f"{kind} {batch}" for kind in ("plain", "adapter") for batch in work.BATCHES]
    print(f"{'':<16}" + "".join(f"{column:>12}" for column in columns))
    for name, found in rates.items():
        print(f"{name:<16}" + "".join(f"{found.get(column, 0):>12.0f}" for column in columns))
    ours = rates["engine"]
    costs = [1 - row["adapter 32"] / row["plain 32"] for row in results["engine"]]
    times = {
        name: {what: round(ours[what] / rate, 2) for what, rate in found.items() if what in ours}
        for name, found in rates.items()
        if not name.startswith("engine")
    }
    cost = statistics.median(costs)
    is_native = llama_is_native(rates)
    beats_llama = not is_native or times[LLAMA]["plain 32"] >= 1.05
    holds = times["HF fp32"]["adapter 32"] >= 2.2 and beats_llama and cost < 0.05
    figures: dict[str, object] = {
        "times": times,
        "llama_cpp_was_compared": is_native,
        "adapter_cost_at_32": round(cost, 3),
        "of_bf16_ceiling_at_32": round(ours["plain 32"] * flop / ceiling["bf16"], 2),
        "tokens_per_cpu_s": {n: {w: round(r) for w, r in f.items()} for n, f in rates.items()},
        "gemm_gflops": {name: round(rate) for name, rate in ceiling.items()},
    }
    return Verdict(figures, holds)


if __name__ == "__main__":
    main()
