"""Print estimate and measured peak of a training pass with and without recomputation, in bytes.

Usage: peak_memory.py FAMILY LENGTH ROWS. A process of its own: a peak can't be taken back, so the
pass that needs less goes first.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers as hf

from evidence._tiny_families import word_tokenizer
from tinker_engine.config import EngineConfig
from tinker_engine.models.base_model import freeze_base
from tinker_engine.models.training_memory import training_memory_bytes
from tinker_engine.runtime.records import RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CONFIGS = {
    "llama": lambda: hf.LlamaConfig(
        vocab_size=512,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=704,
        max_position_embeddings=2048,
    ),
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=512,
        n_embd=256,
        n_layer=6,
        n_head=4,
        n_positions=2048,
        bos_token_id=None,
        eos_token_id=None,
    ),
}


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """Of this program: ru_maxrss would count the parent that it was forked from."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


def examples(count: int, length: int) -> list[TrainDatum]:
    rng = np.random.default_rng(0)
    data: list[TrainDatum] = []
    for _ in range(count):
        tokens = rng.integers(0, 512, length + 1)
        data.append(TrainDatum(tokens[:-1], tokens[1:], np.ones(length, np.float32)))
    return data


def main(family: str, length: int, rows: int) -> None:
    torch.set_num_threads(1)
    config = CONFIGS[family]()
    model = hf.AutoModelForCausalLM.from_config(config)
    base = freeze_base(family, "/nowhere", model, word_tokenizer(), config)
    backend = TorchBackend(base, EngineConfig(precision="fp32", microbatch_tokens=rows))
    data = examples(rows // length, length)
    before = resident_bytes()
    with tempfile.TemporaryDirectory() as folder:
        backend.create_run("r", RunSpec(8, 16.0, SEVEN, seed=1), Path(folder))
        for recomputes in (True, False):
            backend.network.recompute_rows = 0 if recomputes else sys.maxsize
            backend.forward_backward("r", data, "cross_entropy")
            peak = peak_bytes()
            layout = backend.training_run("r").layout
            estimate = training_memory_bytes(
                base, rows, layout=layout, length=length, recomputes=recomputes
            )
            print(estimate, peak - before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
