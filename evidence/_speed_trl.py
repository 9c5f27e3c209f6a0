"""TRL's SFTTrainer as a contender: `python -m evidence._speed_trl FOLDER [options]`.

Plain: what `SFTConfig` does by itself (bf16, gradient checkpointing, padded batches of 8). Packed:
bf16 weights, no checkpointing, and as many packed rows a step as hold the tokens of such a batch.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from evidence import _speed_model as setting
from evidence._speed_meter import Meter
from evidence._speed_trl_start import AtFirstStep

PACKED = {
    "packing": True,
    "max_length": setting.LONGEST,
    "per_device_train_batch_size": 3,
    "gradient_checkpointing": False,
    "model_init_kwargs": {"dtype": "bfloat16"},
}
GROUPED = {
    "train_sampling_strategy": "group_by_length",
    "gradient_checkpointing": False,
    "model_init_kwargs": {"dtype": "bfloat16"},
}
MODES: dict[str, dict[str, Any]] = {"default": {}, "packed": PACKED, "grouped": GROUPED}


def train(folder: Path, rows: list[list[int]], mode: str, meter: Meter) -> None:
    """One epoch over the rows."""
    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(
            output_dir=out,
            use_cpu=True,
            num_train_epochs=1,
            learning_rate=setting.LEARNING_RATE,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **MODES[mode],
        )
        trainer = SFTTrainer(
            model=str(folder),
            args=config,
            train_dataset=Dataset.from_dict({"input_ids": rows}),
            peft_config=LoraConfig(
                r=setting.RANK,
                lora_alpha=setting.ALPHA,
                target_modules=list(setting.TARGETS),
                task_type="CAUSAL_LM",
            ),
            callbacks=[AtFirstStep(meter)],
        )
        trainer.train()


def main() -> None:
    """Measure one mode."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mode", choices=sorted(MODES), default="default")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    # The library imports a model's own code when it first loads one.
    importlib.import_module("transformers.models.llama.modeling_llama")
    meter = Meter()
    rows = setting.sequences_in(options.folder)
    train(options.folder, rows, options.mode, meter)
    meter.report(setting.tokens_of(rows))


if __name__ == "__main__":
    main()
