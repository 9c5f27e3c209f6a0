"""Exports for the Python world: a complete PEFT folder, as safetensors or as PyTorch files.

Beside the weights travel adapter_config.json, the base's tokenizer files unchanged, the chat
template that the adapter was trained with, the stop tokens (generation_config.json) and SKILL.md.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tensafe.tgsp.export.parity import Parity, ParityCheck

if TYPE_CHECKING:
    from torch import Tensor

    from tensafe.tgsp.export.source import ExportSource

SAFETENSORS_FILE = "adapter_model.safetensors"
BIN_FILE = "adapter_model.bin"
CONFIG_FILE = "adapter_config.json"
TEMPLATE_FILE = "chat_template.jinja"
GENERATION_FILE = "generation_config.json"
NO_PEFT = "PEFT is not installed here, so the folder was not loaded in it"


def has_peft() -> bool:
    """Whether PEFT can be imported, found out without importing it."""
    return importlib.util.find_spec("peft") is not None


def write_safetensors(source: ExportSource, folder: Path, name: str) -> None:
    """adapter_model.safetensors, byte for byte the package's payload, and what belongs to it."""
    del name
    (folder / SAFETENSORS_FILE).write_bytes(source.payload)
    write_companions(source, folder)


def check_safetensors(source: ExportSource, folder: Path, parity: Parity) -> list[ParityCheck]:
    """Read the folder as the engine does, and as PEFT does where it is installed."""
    from tinker_engine.models.adapter_files import read_adapter

    read = read_adapter(folder)
    scale = read.config.alpha / read.config.rank
    checks = [parity.check_factors("safetensors", read.factors, scale)]
    return checks + check_peft(source, folder, parity, "safetensors in PEFT")


def write_pytorch(source: ExportSource, folder: Path, name: str) -> None:
    """`adapter_model.bin` as PEFT names its tensors, and one `.pt` with weights and settings."""
    import torch

    state = _state(source)
    settings = json.loads(source.config.to_json())
    torch.save(state, folder / BIN_FILE)
    torch.save({"adapter_config": settings, "state_dict": state}, folder / f"{name}.pt")
    write_companions(source, folder)


def check_pytorch(source: ExportSource, folder: Path, parity: Parity) -> list[ParityCheck]:
    """Read both files without unpickling code, and the folder in PEFT where it is installed."""
    import torch

    from tinker_engine.models.adapter_files import AdapterConfig, pair_factors

    (whole_file,) = folder.glob("*.pt")
    whole = torch.load(whole_file, map_location="cpu", weights_only=True)
    settings = whole["adapter_config"]
    config = AdapterConfig("", int(settings["r"]), float(settings["lora_alpha"]), (), False)
    scale = config.alpha / config.rank
    checks = [
        parity.check_factors(label, pair_factors(state, config, str(path)), scale)
        for label, path, state in (
            (".pt", whole_file, whole["state_dict"]),
            (
                ".bin",
                folder / BIN_FILE,
                torch.load(folder / BIN_FILE, map_location="cpu", weights_only=True),
            ),
        )
    ]
    return checks + check_peft(source, folder, parity, ".bin in PEFT")


def check_peft(source: ExportSource, folder: Path, parity: Parity, label: str) -> list[ParityCheck]:
    """Let PEFT load the folder onto the base; no check where PEFT isn't installed."""
    if not has_peft():
        return []
    import torch
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = cast(Any, PeftModel).from_pretrained(source.base.model, folder).eval()

    @torch.inference_mode()
    def logits(tokens: Sequence[int]) -> Tensor:
        return adapted(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0]

    try:
        return [parity.check(label, logits)]
    finally:
        adapted.unload()


def write_companions(source: ExportSource, folder: Path) -> None:
    """Settings, tokenizer, template, stop tokens and SKILL.md."""
    from tinker_engine.models.digests import TOKENIZER_FILES

    (folder / CONFIG_FILE).write_text(source.config.to_json(), encoding="utf-8")
    base = Path(source.base.info.path)
    for name in (*TOKENIZER_FILES, TEMPLATE_FILE):
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    # A base without a template was trained with the recipe's plain one.
    if source.base.tokenizer.chat_template is None:
        (folder / TEMPLATE_FILE).write_text(source.chat.template, encoding="utf-8")
    _write_generation(source, base, folder)
    if source.view.skill_doc is not None:
        (folder / "SKILL.md").write_text(source.view.skill_doc, encoding="utf-8")


def _write_generation(source: ExportSource, base: Path, folder: Path) -> None:
    if (base / GENERATION_FILE).is_file():
        shutil.copyfile(base / GENERATION_FILE, folder / GENERATION_FILE)
        return
    text = json.dumps({"eos_token_id": source.chat.eos_token_id}, indent=2)
    (folder / GENERATION_FILE).write_text(text + "\n", encoding="utf-8")


def _state(source: ExportSource) -> dict[str, Tensor]:
    """The payload's tensors under their own names, owning their memory."""
    from safetensors.torch import load

    return {name: tensor.clone() for name, tensor in load(source.payload).items()}
