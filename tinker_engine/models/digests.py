"""SHA-256 identities of base models, tokenizers and chat templates.

A digest depends on names and content only, never on folders, file order or modification times, so
the same model copied elsewhere keeps its identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)

COSMETIC_SETTINGS = frozenset(
    {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"}
)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Contents of a CPU tensor as bytes, in row-major order, without a copy where contiguous."""
    flat = tensor.detach().contiguous().view(-1)
    return memoryview(cast(Any, flat.view(torch.uint8).numpy()))


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, dtypes, shapes and values, sorted by name."""
    digest = hashlib.sha256(b"tinker-engine weights v1\n")
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def base_digest(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """Identity of a base model: its weights and the settings that say how they compute."""
    settings = {key: value for key, value in config.items() if key not in COSMETIC_SETTINGS}
    text = json.dumps(settings, sort_keys=True, default=str)
    return text_digest(f"tinker-engine base v1\n{weights_digest(state)}\n{text}")


def files_digest(files: Iterable[Path]) -> str:
    """Hex SHA-256 over file names and contents, sorted by name; missing files are left out."""
    digest = hashlib.sha256(b"tinker-engine files v1\n")
    for path in sorted(files, key=lambda p: p.name):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.name}|{len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def tokenizer_digest(folder: Path) -> str:
    """Identity of the tokenizer files in a model folder."""
    return files_digest(folder / name for name in TOKENIZER_FILES)


def text_digest(text: str | None) -> str:
    """Hex SHA-256 of a text, such as a chat template; None counts as the empty text."""
    return hashlib.sha256((text or "").encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of one file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
