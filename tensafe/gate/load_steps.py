"""Steps 1 to 5 of the load gate: what the bytes are, who signed, and whether it fits the base.

Each step gives its findings and decides nothing else. What one needs and can't have, because an
earlier step found the package broken, is a fault of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tensafe.errors import VerificationError
from tensafe.gate.load_records import LoadPolicy, RunningBase
from tensafe.tgsp.manifest import LoraConfigPart, ManifestView
from tensafe.tgsp.reader import Package
from tensafe.tgsp.safetensors_header import TensorEntry
from tensafe.tgsp.text import one_line
from tensafe.tgsp.verification import Check, Verification

_PAYLOAD_CHECKS = ("layout", "payload_hash", "safetensors")
_SIGNATURE_CHECKS = (
    "manifest_fields", "canonical_form", "signed_fields", "manifest_hash", "creator_key",
    "ed25519", "ml_dsa_65",
)  # fmt: skip
_DIGEST_CHARS = 64
_DTYPES = ("F64", "F32", "F16", "BF16")
_NAME = re.compile(r"^base_model\.model\.(?P<module>[\w.-]+)\.lora_(?P<side>[AB])\.weight$")


@dataclass(frozen=True)
class Findings:
    """What a step found: no faults means that it passed, for `reason`."""

    faults: tuple[str, ...] = ()
    reason: str = ""
    evidence: dict[str, object] = field(default_factory=dict)


class _Pair(NamedTuple):
    """One module's tensors by side."""

    module: str
    sides: dict[str, TensorEntry]


def payload_step(verified: Verification, policy: LoadPolicy) -> Findings:
    """(1) The payload is the one that the manifest names, and well-formed safetensors."""
    faults = _failures(verified, _PAYLOAD_CHECKS)
    if verified.size_bytes > policy.max_payload_bytes:
        faults += (
            f"the package has {verified.size_bytes} bytes; the policy's max_payload_bytes is "
            f"{policy.max_payload_bytes}",
        )
    evidence: dict[str, object] = {
        "payload_hash": verified.payload_hash,
        "size_bytes": verified.size_bytes,
    }
    return Findings(faults, "SHA-256 as stated, tensors in order", evidence)


def signatures_step(verified: Verification) -> Findings:
    """(2) Both signatures verify over a manifest in an accepted form that covers everything."""
    return Findings(
        _failures(verified, _SIGNATURE_CHECKS),
        "Ed25519 and ML-DSA-65 verify",
        {check.name: check.status for check in verified.checks if check.name in _SIGNATURE_CHECKS},
    )


def creator_step(verified: Verification) -> Findings:
    """(3) The trust store holds the signer with both keys, neither revoked nor expired."""
    trust = verified.trust
    evidence: dict[str, object] = {"state": trust.state, "known_as": trust.known_as}
    if verified.manifest is not None:
        evidence["fingerprint"] = _short(verified.manifest.view.creator.public_key_fingerprint)
    faults = () if trust.state == "trusted" else (f"{trust.state}: {trust.reason}",)
    return Findings(faults, trust.reason, evidence)


def lora_config_step(
    package: Package | None, verified: Verification, base: RunningBase, policy: LoadPolicy
) -> Findings:
    """(4) The declared LoRA is within bounds; its tensors are exactly that LoRA on this base."""
    view = _view(verified)
    if package is None:
        raise VerificationError("the bytes are no package, so there are no tensors")
    lora = view.lora_config
    faults = list(_setting_faults(lora, policy))
    try:
        entries = package.header().tensors
    except VerificationError as error:
        return Findings((*faults, f"the tensors can't be listed: {error}"))
    pairs, strays = _pairs(entries)
    faults += [f"{name}: not a tensor of a LoRA pair" for name in strays]
    faults += _target_faults(lora, pairs, base)
    for pair in pairs:
        faults += _pair_faults(pair, lora.rank, base)
    evidence: dict[str, object] = {
        "rank": lora.rank,
        "alpha": lora.alpha,
        "modules": len(pairs),
        "tensors": len(entries),
        "dtypes": sorted({entry.dtype for entry in entries}),
    }
    return Findings(tuple(faults), f"{len(pairs)} modules, names and shapes agree", evidence)


def base_step(verified: Verification, base: RunningBase, policy: LoadPolicy) -> Findings:
    """(5) The adapter was made for the weights, tokenizer and chat template that are running."""
    view = _view(verified)
    stated = view.provenance or {}
    wanted = {
        "base_weights": base.digest,
        "tokenizer": base.tokenizer_digest,
        "chat_template": base.chat_template_digest,
    }
    faults: list[str] = []
    for name, running in wanted.items():
        value = stated.get(name)
        if not isinstance(value, str) or not value:
            faults.append(f"provenance.{name} is missing: the package doesn't say what it is for")
        elif value != running:
            faults.append(f"made for {name} {value[:16]}, {base.name} runs {running[:16]}")
    model = view.model
    if model.architecture != base.architecture:
        faults.append(f"made for {model.architecture}, {base.name} is {base.architecture}")
    if model.num_experts != base.num_experts:
        faults.append(f"made for {model.num_experts} experts, {base.name} has {base.num_experts}")
    if max(model.num_experts, base.num_experts) > 0 and policy.experts == "dense":
        faults.append("the policy lets dense models in; mixture-of-experts needs experts = any")
    evidence: dict[str, object] = {
        "stated": {name: _short(stated.get(name)) for name in wanted},
        "running": wanted,
    }
    return Findings(tuple(faults), f"made for {base.name} as it runs", evidence)


def _short(stated: object) -> str | None:
    """What a package says where a digest stands, of bounded length; None for what is no text."""
    return one_line(stated)[:_DIGEST_CHARS] if isinstance(stated, str) else None


def _view(verified: Verification) -> ManifestView:
    if verified.manifest is None:
        raise VerificationError("could not be checked: the manifest can't be read")
    return verified.manifest.view


def _failures(verified: Verification, names: tuple[str, ...]) -> tuple[str, ...]:
    done = {check.name: check for check in verified.checks}
    missing = Check("", "not_run", "could not be checked")
    found = [(name, done.get(name, missing)) for name in names]
    return tuple(f"{name}: {check.reason}" for name, check in found if check.status != "passed")


def _setting_faults(lora: LoraConfigPart, policy: LoadPolicy) -> Iterator[str]:
    if lora.rank > policy.max_rank:
        yield f"rank {lora.rank} is above the policy's {policy.max_rank}"
    if lora.alpha / lora.rank > policy.max_scale:
        yield (
            f"alpha / rank is {lora.alpha / lora.rank:g}, above the policy's {policy.max_scale:g}"
        )
    if lora.bias != "none":
        yield f"bias is {lora.bias!r}; only none is loaded here"
    if lora.task_type != "CAUSAL_LM":
        yield f"task_type is {lora.task_type!r}; expected CAUSAL_LM"
    if len(set(lora.target_modules)) != len(lora.target_modules):
        yield "target_modules names a module twice"


def _pairs(entries: tuple[TensorEntry, ...]) -> tuple[list[_Pair], list[str]]:
    by_module: dict[str, dict[str, TensorEntry]] = {}
    strays: list[str] = []
    for entry in entries:
        match = _NAME.match(entry.name)
        if match is None:
            strays.append(entry.name)
        else:
            by_module.setdefault(match["module"], {})[match["side"]] = entry
    return [_Pair(module, sides) for module, sides in sorted(by_module.items())], strays


def _target_faults(lora: LoraConfigPart, pairs: list[_Pair], base: RunningBase) -> list[str]:
    faults: list[str] = []
    for target in lora.target_modules:
        wanted = {name for name in base.modules if _is_of(name, target)}
        if not wanted:
            faults.append(f"target {target!r} matches no linear module of {base.name}")
            continue
        lacking = sorted(wanted - {pair.module for pair in pairs})
        if lacking:
            faults.append(f"target {target!r} has no tensors for {lacking[0]}")
    faults += [
        f"{pair.module} has tensors, but is no declared target"
        for pair in pairs
        if not any(_is_of(pair.module, target) for target in lora.target_modules)
    ]
    if not pairs:
        faults.append("there is no LoRA pair in the payload")
    return faults


def _is_of(module: str, target: str) -> bool:
    return module == target or module.endswith("." + target)


def _pair_faults(pair: _Pair, rank: int, base: RunningBase) -> list[str]:
    shape = base.modules.get(pair.module)
    if shape is None:
        return [f"{pair.module}: {base.name} has no such linear module"]
    features_in, features_out = shape
    expected = {"A": (rank, features_in), "B": (features_out, rank)}
    faults: list[str] = []
    for side, wanted in expected.items():
        entry = pair.sides.get(side)
        if entry is None:
            faults.append(f"{pair.module}: lora_{side} is missing")
            continue
        if entry.shape != wanted:
            faults.append(
                f"{pair.module}: lora_{side} has shape {list(entry.shape)}, expected {list(wanted)}"
            )
        if entry.dtype not in _DTYPES:
            faults.append(f"{pair.module}: lora_{side} is {entry.dtype}, not a float")
    return faults
