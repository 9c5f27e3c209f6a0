"""A found adapter as a PEFT folder that every other room reads: names, rank, alpha and targets.

The payload keeps its bytes unless tensor names have to change. What PEFT can express and this
project doesn't apply (DoRA, biases, several ranks) is refused, and what is missing is named.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tensafe.errors import DataError, UsageError, VerificationError
from tensafe.files import write_text
from tensafe.tgsp.foreign.finding import CONFIG_FILE, WEIGHTS_FILE, FoundAdapter
from tensafe.tgsp.safetensors_header import TensorEntry, read_header

PREFIX = "base_model.model."
_NAME = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>[\w.-]+?)\.lora_(?P<side>[AB])(?:\.default)?(?:\.weight)?$"
)
# Names of other programs' layouts, which say by their look what they are.
_OTHERS = (
    (re.compile(r"lora_(?:te\d*|unet)_"), "of kohya's scripts (an image model's)"),
    (re.compile(r"\.lora_(?:down|up)\."), "with lora_down and lora_up, as image trainers write"),
    (re.compile(r"\.lora_magnitude_vector"), "of DoRA, which has a magnitude beside A and B"),
    (re.compile(r"\.lora_embedding_[AB]"), "of an adapted embedding"),
)


@dataclass(frozen=True)
class PeftAdapter:
    """The folder that was written, and what it holds.

    `alpha` is that of plain LoRA (the update is alpha / rank times B A) and `modules` are the
    modules that have tensors. `is_renamed` tells that the payload is not the source's.
    """

    folder: Path
    base_model: str | None
    rank: int
    alpha: float
    modules: tuple[str, ...]
    fan_in_fan_out: bool
    digest: str
    is_renamed: bool
    notes: tuple[str, ...] = ()


def write_peft(
    found: FoundAdapter, folder: Path, *, alpha: float | None, base_model: str | None
) -> PeftAdapter:
    """Write `adapter_model.safetensors` and `adapter_config.json` into a new folder.

    `alpha` and `base_model` stand in for what the source doesn't say; where it says otherwise, an
    alpha is refused, and a base wins over the one that is declared.

    Raises:
        UsageError: rank, alpha or base is nowhere stated, or contradicts what is.
        DataError: a setting that changes what the adapter computes isn't supported.
        VerificationError: tensors are missing, of wrong shape, not finite or of no LoRA pair.
    """
    from tinker_engine.errors import CheckpointError
    from tinker_engine.models.adapter_files import read_adapter

    payload, names = _peft_names(found)
    rank = _rank(found, names)
    stated = _alpha(found, alpha)
    modules = tuple(sorted({_module(name) for name in names}))
    base = base_model or _text(found.config.get("base_model_name_or_path"))
    config = {
        **_plain(found.config),
        "peft_type": found.config.get("peft_type", "LORA"),
        "base_model_name_or_path": base or "",
        "r": rank,
        "lora_alpha": stated,
        "target_modules": sorted({name.rsplit(".", 1)[-1] for name in modules}),
    }
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_bytes(payload)
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True) + "\n")
    try:
        read = read_adapter(folder)
    except CheckpointError as error:
        message = str(error).replace(str(folder), str(found.source))
        kind = DataError if CONFIG_FILE in message else VerificationError
        raise kind(f"{message}; nothing was imported") from error
    return PeftAdapter(
        folder,
        base,
        read.config.rank,
        read.config.alpha,
        modules,
        read.config.fan_in_fan_out,
        read.digest,
        payload != found.payload,
        tuple(_notes(found, payload, read.config.alpha, stated)),
    )


def fitting_targets(adapted: Collection[str], base: Mapping[str, tuple[int, int]]) -> list[str]:
    """The shortest names that match exactly the adapted ones among the base's linear modules.

    Raises:
        DataError: the base lacks a module; names it.
    """
    lacking = sorted(set(adapted) - set(base))
    if lacking:
        known = sorted({name.rsplit(".", 1)[-1] for name in base})
        raise DataError(
            f"the base has no linear module {lacking[0]!r} (and {len(lacking) - 1} more that the "
            f"adapter has tensors for); its modules end in {', '.join(known)}: name the base that "
            "the adapter was trained on with --base-model"
        )
    short = sorted({name.rsplit(".", 1)[-1] for name in adapted})
    matched = {name for name in base if name.rsplit(".", 1)[-1] in short}
    return short if matched == set(adapted) else sorted(adapted)


def _peft_names(found: FoundAdapter) -> tuple[bytes, dict[str, TensorEntry]]:
    """The payload under PEFT's names, and its tensors by those."""
    entries = read_header(found.payload).tensors
    renamed: dict[str, str] = {}
    for entry in entries:
        match = _NAME.match(entry.name)
        if match is None:
            raise VerificationError(f"{found.weights}: {_stranger(entry.name)}")
        new = f"{PREFIX}{match['module']}.lora_{match['side']}.weight"
        if new in renamed.values():
            raise VerificationError(f"{found.weights}: two tensors are meant for {new}")
        renamed[entry.name] = new
    if not entries:
        raise VerificationError(f"{found.weights}: there is no tensor in it")
    if all(old == new for old, new in renamed.items()):
        return found.payload, {entry.name: entry for entry in entries}
    from safetensors.torch import load, save

    tensors = {renamed[name]: tensor for name, tensor in load(found.payload).items()}
    payload = save(tensors, metadata={"format": "pt"})
    return payload, {entry.name: entry for entry in read_header(payload).tensors}


def _stranger(name: str) -> str:
    for pattern, what in _OTHERS:
        if pattern.search(name):
            return f"tensor {name[:120]!r} is {what}; only plain LoRA pairs in PEFT's names go in"
    if ".lora_" not in name:
        return (
            f"tensor {name[:120]!r} is no half of a LoRA pair (MODULE.lora_A.weight, "
            "MODULE.lora_B.weight); a merged or full model can't be imported as an adapter"
        )
    return f"tensor {name[:120]!r} is not named as PEFT does (MODULE.lora_A.weight)"


def _module(name: str) -> str:
    return name[len(PREFIX) :].rsplit(".lora_", 1)[0]


def _rank(found: FoundAdapter, names: Mapping[str, TensorEntry]) -> int:
    ranks = {
        entry.shape[0]
        for name, entry in names.items()
        if name.endswith(".lora_A.weight") and len(entry.shape) == 2
    }
    if len(ranks) != 1:
        shown = ", ".join(map(str, sorted(ranks))) or "none"
        raise VerificationError(
            f"{found.weights}: one rank for all modules is expected, found {shown}"
        )
    rank = ranks.pop()
    declared = found.config.get("r", rank)
    if declared != rank:
        raise VerificationError(
            f"{found.source}: its settings declare rank {declared}, the tensors have {rank}"
        )
    return rank


def _alpha(found: FoundAdapter, given: float | None) -> float | int:
    stated = found.config.get("lora_alpha")
    if stated is None:
        if given is None:
            raise UsageError(
                f"{found.source}: nothing says which alpha it was trained with, and without it the "
                f"weights have no scale; give --alpha, or put its {CONFIG_FILE} beside it"
            )
        return given
    if (
        isinstance(stated, bool)
        or not isinstance(stated, int | float)
        or not (math.isfinite(stated) and stated > 0)
    ):
        raise DataError(f"{found.source}: lora_alpha is {stated!r}; expected a positive number")
    if given is not None and given != stated:
        raise UsageError(f"--alpha {given:g}: {found.source} says {stated:g}")
    return stated


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """The source's settings, without patterns that name no other rank or alpha than the common.

    They travel on so that what isn't supported is refused by the one reader that knows.
    """
    kept = dict(config)
    for name, common in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha")):
        pattern = kept.get(name)
        if not isinstance(pattern, dict):
            continue
        values = cast("dict[str, object]", pattern).values()
        if all(value == config.get(common) for value in values):
            kept[name] = {}
    return kept


def _notes(found: FoundAdapter, payload: bytes, alpha: float, stated: float) -> list[str]:
    notes: list[str] = []
    if payload != found.payload:
        notes.append("tensors were renamed as PEFT names them; their values are the same")
    if alpha != stated:
        notes.append(f"rsLoRA: alpha {stated:g} is written as {alpha:g}, which computes the same")
    dropout = found.config.get("lora_dropout")
    if isinstance(dropout, int | float) and dropout > 0:
        notes.append(f"dropout {dropout:g} concerned its training; it has no effect now")
    return notes
