"""TRL's DPOTrainer as a contender: `python -m evidence._speed_trl_dpo FOLDER [options]`.

Default: what `DPOConfig` does by itself (bf16, gradient checkpointing, the reference computed in
each step). The others compute the reference before training, which isn't counted, and keep no
gradient checkpoints; bf16 with bf16 weights is its fastest configuration found.
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
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from evidence import _speed_model as setting
from evidence._speed_meter import Meter
from evidence._speed_trl_start import AtFirstStep

PREPARED = {"precompute_ref_log_probs": True, "gradient_checkpointing": False}
MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "fp32": {**PREPARED, "bf16": False, "model_init_kwargs": {"dtype": "float32"}},
    "bf16": {**PREPARED, "model_init_kwargs": {"dtype": "bfloat16"}},
}


def text(tokens: list[int]) -> str:
    """Words of the setting's tokenizer."""
    return " ".join(f"w{token}" for token in tokens)


def main() -> None:
    """Measure one epoch of one mode."""
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
    pairs = setting.pairs_in(options.folder)
    # A blank before each answer keeps its first word apart from the prompt's last.
    rows = [
        {
            "prompt": text(pair["prompt"]),
            "chosen": " " + text(pair["chosen"]),
            "rejected": " " + text(pair["rejected"]),
        }
        for pair in pairs
    ]
    with tempfile.TemporaryDirectory() as out:
        config = DPOConfig(
            output_dir=out,
            use_cpu=True,
            num_train_epochs=1,
            per_device_train_batch_size=setting.PAIR_BATCH,
            learning_rate=setting.LEARNING_RATE,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **MODES[options.mode],
        )
        trainer = DPOTrainer(
            model=str(options.folder),
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=transformers.AutoTokenizer.from_pretrained(options.folder),
            peft_config=LoraConfig(
                r=setting.RANK,
                lora_alpha=setting.ALPHA,
                target_modules=list(setting.TARGETS),
                task_type="CAUSAL_LM",
            ),
            callbacks=[AtFirstStep(meter)],
        )
        trainer.train()
    meter.report(len(pairs))


if __name__ == "__main__":
    main()
