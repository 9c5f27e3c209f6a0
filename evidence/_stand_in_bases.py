"""Bases with the shapes that real adapters were trained on, and seeded random weights.

The adapters' own bases are not among the test data. What an import, a package and an export do
with tensors doesn't depend on a base's quality; what an adapter is worth does, and isn't claimed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from transformers.utils.logging import disable_progress_bar

from tinker_engine.base import NANO_DIR
from tinker_engine.models.digests import TOKENIZER_FILES

_WIDTH, _HEADS, _POSITIONS = 768, 12, 512


def _gpt2(layers: int) -> Callable[[dict[str, Any]], Any]:
    return lambda common: hf.GPT2Config(
        n_embd=_WIDTH, n_layer=layers, n_head=_HEADS, n_positions=_POSITIONS, **common
    )


def _gpt_neo(common: dict[str, Any]) -> Any:
    return hf.GPTNeoConfig(
        hidden_size=_WIDTH,
        num_layers=12,
        num_heads=_HEADS,
        attention_types=[[["global", "local"], 6]],
        max_position_embeddings=_POSITIONS,
        **common,
    )


SHAPES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "distilgpt2-r8": _gpt2(6),
    "gpt2-smart-review-r8": _gpt2(12),
    "gptneo125m-movies-r8-qv": _gpt_neo,
}


def stand_in(adapter: str, folder: Path) -> Path:
    """Write a base for the named adapter: nano's tokenizer, weights drawn under one seed."""
    disable_progress_bar()
    folder.mkdir(parents=True)
    tokenizer: Any = hf.AutoTokenizer.from_pretrained(NANO_DIR, local_files_only=True)
    common = {
        "vocab_size": len(tokenizer),
        "initializer_range": 0.08,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(20)
    model: Any = hf.AutoModelForCausalLM.from_config(SHAPES[adapter](common))
    model.save_pretrained(folder)
    for name in (*TOKENIZER_FILES, "chat_template.jinja"):
        if (NANO_DIR / name).is_file():
            shutil.copyfile(NANO_DIR / name, folder / name)
    return folder
