"""A plain PEFT loop over length-sorted batches: `python -m evidence._speed_peft FOLDER [options]`.

In bf16 base and adapter are both bf16, the fastest that the loop can be.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from evidence import _speed_model as setting
from evidence._speed_meter import Meter

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def adapted(folder: Path, dtype: torch.dtype) -> Any:
    """The base with a fresh LoRA adapter on it."""
    model = cast(Any, AutoModelForCausalLM).from_pretrained(folder, dtype=dtype)
    config = LoraConfig(
        r=setting.RANK,
        lora_alpha=setting.ALPHA,
        target_modules=list(setting.TARGETS),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config, autocast_adapter_dtype=False)


def padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """Inputs, mask and labels of a batch, padded on the right."""
    tensors = [torch.tensor(row) for row in rows]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(tensors, batch_first=True, padding_value=0),
        "attention_mask": pad([torch.ones_like(t) for t in tensors], batch_first=True),
        "labels": pad(tensors, batch_first=True, padding_value=-100),
    }


def batches(rows: list[list[int]]) -> Iterator[list[list[int]]]:
    """Neighbours in length together."""
    ordered = sorted(rows, key=len)
    for start in range(0, len(ordered), setting.BATCH):
        yield ordered[start : start + setting.BATCH]


def main() -> None:
    """Measure one epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=sorted(DTYPES), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The library imports a model's own code when it first loads one.
    importlib.import_module("transformers.models.llama.modeling_llama")
    meter = Meter()
    rows = setting.sequences_in(options.folder)
    model = adapted(options.folder, DTYPES[options.precision])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=setting.LEARNING_RATE)
    meter.start()
    for batch in batches(rows):
        model(**padded(batch)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    meter.report(setting.tokens_of(rows))


if __name__ == "__main__":
    main()
