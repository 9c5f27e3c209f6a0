"""Packages for claims about them: a good one, and ways to make it bad, signed anew where possible.

The behaviour layers' figures are this script's input, shaped as a screening's; the weight layers
of the record are measured on the adapter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from evidence._tampering import hex_of
from tensafe.gate.load_records import RunningBase, StepName
from tensafe.gate.records import GateRecord, ThreeGates
from tensafe.screen.config import ScreenConfig
from tensafe.screen.records import BEHAVIOUR_LAYERS, Check, LayerResult, ScreenReport
from tensafe.screen.screening import screen_weights
from tensafe.tgsp import (
    EvaluationInfo,
    KeyPair,
    LoraShape,
    ModelInfo,
    PackageMetadata,
    Provenance,
    ScreeningInfo,
    SkillFacts,
    SkillInfo,
    write_package,
    write_skill_doc,
)
from tensafe.tgsp.canonical import canonical_json, sha256_hex
from tensafe.tgsp.keys import encode64, now
from tensafe.tgsp.manifest import manifest_hash, signed_message
from tensafe.tgsp.reader import MAGIC, split_package
from tinker_engine.runtime.records import BaseInfo

Raw = dict[str, Any]
Tensors = dict[str, Any]
Make = Callable[[bytes, KeyPair], bytes]


def good_package(
    path: Path,
    adapter: Path,
    base: RunningBase | BaseInfo,
    signer: KeyPair,
    skill: SkillInfo | None = None,
) -> Path:
    """The adapter in a package, named as its file, that says of itself what a run's says."""
    declared = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    lora = LoraShape(declared["r"], declared["lora_alpha"], tuple(declared["target_modules"]))
    record = screening_record(adapter)
    model = ModelInfo(base.architecture, base.name)
    skill = skill or SkillInfo("An ordinary adapter.")
    evaluation = EvaluationInfo(0.9, (0.83, 0.94), 0.1, 100, hex_of("evaluation"))
    facts = SkillFacts(
        path.stem, "general", model, lora, skill, evaluation, (), None, signer.identity,
        trained_on=400,
    )  # fmt: skip
    report = str(record["report_digest"])
    write_package(
        path,
        payload=adapter / "adapter_model.safetensors",
        metadata=PackageMetadata(
            name=path.stem,
            domain="general",
            created=now(),
            model=model,
            lora=lora,
            skill=skill,
            screening=ScreeningInfo(
                tuple(str(layer["name"]) for layer in _rows(record)), True, now(), report, record
            ),
            provenance=Provenance(
                hex_of("train"), hex_of("test"), base.digest, base.tokenizer_digest,
                base.chat_template_digest, "evidence", "sft",
            ),
            privacy=None,
            evaluation=evaluation,
            skill_doc=write_skill_doc(facts),
        ),
        gates=ThreeGates(
            GateRecord("qa_verify", "passed", 0.9, 0.8, "in", report_digest=hex_of("evaluation")),
            GateRecord("rvu_v2_pass", "passed", 0.0, 0.0, "in", report_digest=report),
            GateRecord("dp_budget", "waived", 0.0, 8.0, "trained without privacy"),
        ),
        signer=signer,
    )  # fmt: skip
    return path


def screening_record(adapter: Path) -> dict[str, object]:
    """A record whose weight layers were measured on this adapter."""
    weights, digest, reference = screen_weights(adapter, ScreenConfig())
    behaviour = [
        LayerResult(name, True, 0.0, 0.1, "in", (Check("rate", 0.0, 0.1, "in"),))
        for name in BEHAVIOUR_LAYERS
    ]
    report = ScreenReport(
        adapter_digest=digest,
        train_digest=hex_of("train"),
        config=ScreenConfig().model_dump(mode="json"),
        suites={},
        reference_digest=reference,
        layers=(*behaviour, *weights),
    )
    return report.public()


def _rows(record: dict[str, object]) -> list[dict[str, object]]:
    rows = record["layers"]
    assert isinstance(rows, list)
    return rows


@dataclass(frozen=True)
class BadCase:
    """One rule broken: how, the step that must say no, and words of its reason."""

    name: str
    step: StepName
    words: str
    make: Make


def resigned(
    package: bytes,
    signer: KeyPair,
    change: Callable[[Raw], None] | None = None,
    tensors: Callable[[Tensors], Tensors] | None = None,
    payload: bytes | None = None,
    *,
    follow: bool = True,
) -> bytes:
    """The package with manifest or payload changed, hashed and signed again by its signer.

    `follow` lets the screening record name the new payload, as its maker would.
    """
    opened = split_package(package)
    raw: Raw = json.loads(opened.manifest_bytes)
    data = bytes(opened.payload) if payload is None else payload
    if tensors is not None:
        data = save(tensors(dict(load(data))))
    raw["integrity"]["payload_hash"] = sha256_hex(data)
    if follow and isinstance(raw.get("screening"), dict):
        raw["screening"]["adapter_digest"] = sha256_hex(data)
        raw["rvu_safety"]["screening_hash"] = sha256_hex(canonical_json(raw["screening"]))
    if change is not None:
        change(raw)
    return assembled(signed(raw, signer), data)


def signed(raw: Raw, signer: KeyPair) -> Raw:
    """The manifest with its hash and both signatures made anew."""
    raw["integrity"]["manifest_hash"] = manifest_hash(raw)
    fields = raw["signatures"]["signed_fields"]
    message = signed_message(raw, fields)
    raw["signatures"] = {
        "ed25519": encode64(signer.sign_ed25519(message)),
        "dilithium3": encode64(signer.sign_ml_dsa_65(message)),
        "signed_fields": list(fields),
    }
    return raw


def assembled(raw: Raw, payload: bytes) -> bytes:
    """The bytes of a package."""
    manifest = canonical_json(raw)
    return MAGIC + len(manifest).to_bytes(4, "little") + manifest + payload


def of_manifest(change: Callable[[Raw], None], *, follow: bool = True) -> Make:
    """A case that changes the manifest and signs it."""
    return lambda package, signer: resigned(package, signer, change, follow=follow)


def of_record(change: Callable[[Raw], None]) -> Make:
    """A case that changes the screening record, with its hash kept right."""

    def both(raw: Raw) -> None:
        change(raw["screening"])
        raw["rvu_safety"]["screening_hash"] = sha256_hex(canonical_json(raw["screening"]))

    return of_manifest(both)


def of_tensors(change: Callable[[Tensors], Tensors]) -> Make:
    """A case that changes tensors, with every hash and signature right."""
    return lambda package, signer: resigned(package, signer, tensors=change)


def first(tensors: Tensors, side: str) -> str:
    """The first tensor of a side."""
    return next(name for name in sorted(tensors) if name.endswith(f"lora_{side}.weight"))


def with_changed(tensors: Tensors, side: str, change: Callable[[Any], Any]) -> Tensors:
    """The tensors with the first one of a side changed."""
    name = first(tensors, side)
    return {**tensors, name: np.ascontiguousarray(change(tensors[name]))}
