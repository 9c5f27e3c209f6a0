"""Adapter folders in PEFT's layout: adapter_config.json and adapter_model.safetensors.

Writing is deterministic byte for byte and atomic per file. PEFT, vLLM and llama.cpp read the same
files; names and orientation follow PEFT (`base_model.model.<module>.lora_A.weight` (rank, in),
`.lora_B.weight` (out, rank)), for Conv1D modules too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from tinker_engine.errors import CheckpointError
from tinker_engine.models.digests import file_sha256

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
# Settings of PEFT's that change what an adapter computes, and that the engine doesn't apply.
UNSUPPORTED = (
    "use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias",
    "ensure_weight_tying", "layer_replication", "target_parameters", "trainable_token_indices",
    "use_qalora", "use_bdlora", "arrow_config", "alora_invocation_tokens",
)  # fmt: skip


@dataclass(frozen=True)
class AdapterConfig:
    """The part of PEFT's LoraConfig that the engine uses; everything else has PEFT's default."""

    base_model: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    fan_in_fan_out: bool

    def to_json(self) -> str:
        """adapter_config.json, keys sorted."""
        alpha = int(self.alpha) if float(self.alpha).is_integer() else self.alpha
        content: dict[str, Any] = {
            "alpha_pattern": {},
            "auto_mapping": None,
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "fan_in_fan_out": self.fan_in_fan_out,
            "inference_mode": True,
            "init_lora_weights": True,
            "layers_pattern": None,
            "layers_to_transform": None,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "modules_to_save": None,
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": {},
            "revision": None,
            "target_modules": sorted(self.targets),
            "task_type": "CAUSAL_LM",
            "use_dora": False,
            "use_rslora": False,
        }
        return json.dumps(content, indent=2, sort_keys=True) + "\n"


@dataclass(frozen=True)
class AdapterFiles:
    """A loaded adapter: per module A (rank, in) and B (out, rank) fp32, and the payload digest."""

    config: AdapterConfig
    factors: dict[str, tuple[Tensor, Tensor]]
    digest: str


def write_atomically(path: Path, content: bytes) -> None:
    """Temp file beside the target, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_adapter(
    folder: Path, config: AdapterConfig, factors: Mapping[str, tuple[Tensor, Tensor]]
) -> str:
    """Write both files; gives the hex SHA-256 of adapter_model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for module in sorted(factors):
        a, b = factors[module]
        # PEFT drops the ".default" of its own parameter names when it saves.
        tensors[f"{PREFIX}{module}.lora_A.weight"] = a.detach().float().contiguous()
        tensors[f"{PREFIX}{module}.lora_B.weight"] = b.detach().float().contiguous()
    write_atomically(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
    write_atomically(folder / CONFIG_FILE, config.to_json().encode())
    return file_sha256(folder / WEIGHTS_FILE)


def read_adapter(folder: Path) -> AdapterFiles:
    """Load a PEFT LoRA folder.

    Raises CheckpointError for missing or unreadable files, for features the engine doesn't apply
    (`UNSUPPORTED`, biases), and for tensors that don't pair up.
    """
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    try:
        raw = cast("dict[str, Any]", json.loads(config_path.read_text(encoding="utf-8")))
        tensors = load_file(weights_path)
        digest = file_sha256(weights_path)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"adapter folder {folder} can't be read: {error}") from error
    config = _parse_config(raw, config_path)
    return AdapterFiles(config, pair_factors(tensors, config, str(weights_path)), digest)


def _parse_config(raw: dict[str, Any], path: Path) -> AdapterConfig:
    unsupported = [key for key in UNSUPPORTED if raw.get(key)]
    if raw.get("peft_type") != "LORA" or unsupported or raw.get("bias", "none") != "none":
        found = ", ".join(unsupported) or f"{raw.get('peft_type')}/bias {raw.get('bias')}"
        raise CheckpointError(
            f"{path}: expected a plain LoRA adapter without biases; found {found}"
        )
    try:
        rank, alpha = int(raw["r"]), float(raw["lora_alpha"])
        targets = tuple(str(t) for t in raw["target_modules"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: r, lora_alpha or target_modules is unusable: {error}"
        ) from error
    if raw.get("use_rslora"):
        # rsLoRA scales by alpha / sqrt(rank); as plain LoRA that is another alpha.
        alpha *= rank**0.5
    base = str(raw.get("base_model_name_or_path") or "")
    return AdapterConfig(base, rank, alpha, targets, bool(raw.get("fan_in_fan_out", False)))


def pair_factors(
    tensors: Mapping[str, Tensor], config: AdapterConfig, path: str
) -> dict[str, tuple[Tensor, Tensor]]:
    """Per module A (rank, in) and B (out, rank) fp32 of an adapter's tensors; `path` is for errors.

    Raises CheckpointError, naming the tensor or module, for anything but finite LoRA pairs.
    """
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    for key in sorted(tensors):
        if not key.startswith(PREFIX) or not key.endswith(".lora_A.weight"):
            continue
        module = key[len(PREFIX) : -len(".lora_A.weight")]
        b = tensors.get(f"{PREFIX}{module}.lora_B.weight")
        a = tensors[key].to(torch.float32)
        if b is None or a.dim() != 2 or b.dim() != 2 or a.shape[0] != config.rank:
            raise CheckpointError(
                f"{path}: factors of {module} are missing or not of rank {config.rank}"
            )
        factors[module] = (a, b.to(torch.float32))
    paired = {f"{PREFIX}{module}.lora_{factor}.weight" for module in factors for factor in "AB"}
    unpaired = sorted(set(tensors) - paired)
    if unpaired:
        raise CheckpointError(f"{path}: tensor {unpaired[0][:200]!r} is not part of a LoRA pair")
    for module, pair in factors.items():
        if not all(bool(torch.isfinite(factor).all()) for factor in pair):
            raise CheckpointError(f"{path}: factors of {module} hold values that are not finite")
    return factors
