"""Which modules a base offers to adapters, without its weights: names, sizes, ties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from tinker_engine.errors import ModelLoadError
from tinker_engine.models.base_model import resolve_folder
from tinker_engine.models.targets import linear_modules


@dataclass(frozen=True)
class ModuleShapes:
    """`linears` are (in, out) by full name, `embeddings` (tokens, width); `others` the rest."""

    architecture: str
    linears: Mapping[str, tuple[int, int]]
    embeddings: Mapping[str, tuple[int, int]]
    others: frozenset[str]
    head: str
    ties_head: bool


def module_shapes(model: nn.Module) -> ModuleShapes:
    """Of an instantiated causal language model, on any device."""
    linears = {name: _shape(module) for name, module in linear_modules(model).items()}
    embeddings = {
        name: (module.num_embeddings, module.embedding_dim)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    }
    head = cast(Any, model).get_output_embeddings()
    return ModuleShapes(
        architecture=type(model).__name__,
        linears=linears,
        embeddings=embeddings,
        others=frozenset(n for n, _ in model.named_modules() if n not in linears | embeddings),
        head=next((name for name, module in model.named_modules() if module is head), ""),
        ties_head=bool(getattr(cast(Any, model).config, "tie_word_embeddings", False)),
    )


def folder_shapes(name: str) -> ModuleShapes:
    """Of a base named as for `load_base`, or of a folder with nothing but its config.json.

    Raises ModelLoadError where there is none or transformers doesn't know it.
    """
    given = Path(name).expanduser()
    folder = given if (given / "config.json").is_file() else resolve_folder(name)
    try:
        config = cast(Any, AutoConfig.from_pretrained(folder, local_files_only=True))
        with torch.device("meta"):
            model = cast(Any, AutoModelForCausalLM).from_config(config)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelLoadError(f"base model {name!r}: {folder}/config.json: {error}") from error
    return module_shapes(cast(nn.Module, model))


def _shape(module: nn.Module) -> tuple[int, int]:
    rows, columns = cast(torch.Tensor, module.weight).shape
    return (int(rows), int(columns)) if isinstance(module, Conv1D) else (int(columns), int(rows))
