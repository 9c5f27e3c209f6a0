"""Packages of random adapters on real and tiny bases, for the export tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import save
from sample_package import gates, key_pair, metadata

from tensafe.tgsp import LoraShape, ModelInfo, write_package
from tinker_engine.base import NANO_DIR
from tinker_engine.models import LoadedBase, load_base
from tinker_engine.models.targets import linear_modules, resolve_targets

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SHAPE: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
GPT2: dict[str, Any] = {
    "vocab_size": 4096,
    "n_positions": 128,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": 1,
}
CONFIGS: dict[str, Any] = {
    "llama": lambda: hf.LlamaConfig(**SHAPE, attention_bias=True),
    "llama3-rope": lambda: hf.LlamaConfig(
        **SHAPE,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ),
    "tied-llama": lambda: hf.LlamaConfig(**SHAPE, tie_word_embeddings=True),
    "mistral": lambda: hf.MistralConfig(**SHAPE, head_dim=8, sliding_window=None),
    "window": lambda: hf.MistralConfig(**SHAPE, head_dim=8, sliding_window=8),
    "qwen2": lambda: hf.Qwen2Config(**SHAPE),
    "qwen3": lambda: hf.Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True),
    "gemma": lambda: hf.GemmaConfig(**SHAPE, head_dim=8),
    "gpt2": lambda: hf.GPT2Config(**GPT2),
    "gelu-gpt2": lambda: hf.GPT2Config(**GPT2, activation_function="gelu"),
}


def tiny_folder(family: str, folder: Path) -> Path:
    """A tiny random model of a family, with nano's tokenizer."""
    torch.manual_seed(4)
    model = hf.AutoModelForCausalLM.from_config(CONFIGS[family]())
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms and biases start as ones and zeros, which would hide mistakes.
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(NANO_DIR / name, folder / name)
    return folder


def random_adapter(
    base: LoadedBase, targets: Sequence[str] = SEVEN, rank: int = 4, size: float = 0.1
) -> bytes:
    """A payload with factors of ordinary size on every targeted module."""
    generator = torch.Generator().manual_seed(9)
    _, names = resolve_targets(base.model, targets)
    tensors: dict[str, torch.Tensor] = {}
    for name in names:
        module = linear_modules(base.model)[name]
        out, into = module.weight.shape
        if not isinstance(module, torch.nn.Linear):
            out, into = into, out
        prefix = f"base_model.model.{name}"
        for factor, shape in (("A", (rank, into)), ("B", (out, rank))):
            values = torch.randn(shape, generator=generator) * size
            tensors[f"{prefix}.lora_{factor}.weight"] = values
    return save(tensors, metadata={"format": "pt"})


def package_on(
    base: LoadedBase, path: Path, *, payload: bytes, targets: Sequence[str] = SEVEN, rank: int = 4
) -> Path:
    """A signed package that names this very base."""
    described = metadata()
    provenance = replace(
        described.provenance,
        base_weights=base.info.digest,
        tokenizer=base.info.tokenizer_digest,
        chat_template=base.info.chat_template_digest,
    )
    described = replace(
        described,
        model=ModelInfo(base.info.architecture, base.info.name),
        lora=LoraShape(rank, 8.0, tuple(targets)),
        provenance=provenance,
    )
    write_package(path, payload=payload, metadata=described, gates=gates(), signer=key_pair())
    return path


def tiny_package(family: str, folder: Path, targets: Sequence[str] = SEVEN) -> tuple[Path, Path]:
    """A package on a tiny base, and the base's folder."""
    base_folder = tiny_folder(family, folder / f"{family}-base")
    base = load_base(str(base_folder))
    payload = random_adapter(base, targets)
    return package_on(base, folder / "a.tgsp", payload=payload, targets=targets), base_folder


def set_template(folder: Path, template: str | None) -> None:
    """Give a base folder another chat template."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["chat_template"] = template
    path.write_text(json.dumps(settings))
