"""Opacus on a PEFT model: `python -m evidence._speed_opacus FOLDER [--threads N]`.

Its hooks, the faster of its two ways for LoRA; each example's loss is its own mean, as the engine's
private step takes it. Batches are drawn as they come: a private lot can't be chosen by length.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

from evidence import _speed_model as setting
from evidence._speed_meter import Meter
from evidence._speed_peft import adapted, padded


def main() -> None:
    """Measure one epoch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The library imports a model's own code when it first loads one.
    importlib.import_module("transformers.models.llama.modeling_llama")
    meter = Meter()
    rows = setting.sequences_in(options.folder)
    model = GradSampleModule(adapted(options.folder, torch.float32).train(), loss_reduction="sum")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = DPOptimizer(
        torch.optim.AdamW(trained, lr=setting.LEARNING_RATE),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=setting.BATCH,
        loss_reduction="sum",
    )
    meter.start()
    for start in range(0, len(rows), setting.BATCH):
        inputs = padded(rows[start : start + setting.BATCH])
        logits = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).logits
        targets = inputs["labels"][:, 1:]
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), targets, ignore_index=-100, reduction="none"
        )
        (losses.sum(1) / (targets != -100).sum(1)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    meter.report(setting.tokens_of(rows))


if __name__ == "__main__":
    main()
