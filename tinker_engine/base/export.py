"""Writing the model as a folder that `transformers` loads, all at once or not at all."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from tinker_engine.base.model import Nano, NanoConfig
from tinker_engine.base.tokenizer import END, PAD, token_id, write_tokenizer


def _config(config: NanoConfig, end: int, pad: int) -> dict[str, Any]:
    return {
        **config.as_dict(),
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": pad,
        "dtype": "bfloat16",
        "use_cache": True,
    }


def export(model: Nano, tokenizer: Tokenizer, folder: Path) -> None:
    """Replace `folder` with the exported model. A reader sees the old folder or the new one."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    end, pad = token_id(tokenizer, END), token_id(tokenizer, PAD)
    weights = {
        name: w.detach().to("cpu", torch.bfloat16).contiguous()
        for name, w in model.state_dict().items()
    }
    save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
    generation = {
        "eos_token_id": end,
        "pad_token_id": pad,
        "do_sample": False,
        "max_new_tokens": 128,
    }
    (fresh / "config.json").write_text(json.dumps(_config(model.config, end, pad), indent=2) + "\n")
    (fresh / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    write_tokenizer(tokenizer, fresh, model.config.max_position_embeddings)
    if folder.exists():
        os.rename(folder, old)
    os.rename(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of an exported folder in fp32, under the names that `Nano` uses."""
    return {
        name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()
    }
