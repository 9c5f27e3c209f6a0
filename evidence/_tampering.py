"""A small package to attack, and the attacks that have names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from tensafe.gate.records import GateRecord, ThreeGates
from tensafe.tgsp import (
    EvaluationInfo,
    Identity,
    KeyPair,
    KeyStore,
    LoraShape,
    ModelInfo,
    PackageMetadata,
    PrivacyInfo,
    Provenance,
    ScreeningInfo,
    SkillFacts,
    SkillInfo,
    write_package,
    write_skill_doc,
)
from tensafe.tgsp.canonical import canonical_json
from tensafe.tgsp.keys import encode64, now, public_keys_fields
from tensafe.tgsp.manifest import manifest_hash, signed_message
from tensafe.tgsp.reader import MAGIC, split_package

GIB = 2**30
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Attack:
    """Bytes to verify, `size` of the file when it is longer (sparse), and command options."""

    data: bytes
    size: int = 0
    options: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Make the file."""
        path.write_bytes(self.data)
        if self.size:
            with path.open("r+b") as file:
                file.truncate(self.size)


def new_signer(store: KeyStore, passphrase: str) -> KeyPair:
    """A fresh identity, trusted in its own store as any creator's own key is."""
    return store.create(Identity("Evidence", "evidence@example.org"), passphrase)


def small_package(folder: Path, signer: KeyPair) -> bytes:
    """A package of a rank-8 LoRA on one projection, written by the one writer.

    The gate records and the metadata are this script's input, shaped as a run's; what is shown
    about the package does not depend on what they say.
    """
    reports = {name: hex_of(f"report of {name}") for name in ("qa_verify", "rvu_v2_pass")}
    gates = ThreeGates(
        GateRecord(
            "qa_verify", "passed", 0.9, 0.8, "input", report_digest=reports["qa_verify"]
        ),
        GateRecord(
            "rvu_v2_pass", "passed", 0.0, 0.0, "input", report_digest=reports["rvu_v2_pass"]
        ),
        GateRecord("dp_budget", "passed", 7.5, 8.0, "input"),
    )  # fmt: skip
    path = folder / "small.tgsp"
    write_package(
        path,
        payload=_adapter(),
        metadata=_metadata(signer.identity, reports),
        gates=gates,
        signer=signer,
    )
    return path.read_bytes()


def attacks(data: bytes, signer: KeyPair) -> dict[str, Attack]:
    """Every attack that has a name; all have to end in exit 4."""
    other = KeyPair.generate(signer.identity)
    manifest = bytes(split_package(data).manifest_bytes)
    payload = bytes(split_package(data).payload)
    twice = b'{"name":"another",' + manifest[1:]
    deep = b'{"a":' + b"[" * 1_000_000
    many = b'{"a":[' + b"[]," * 5_000_000 + b"0]}"
    declared = MAGIC + (4 * GIB - 1).to_bytes(4, "little")
    return {
        "truncated": Attack(data[:-1]),
        "truncated in the manifest": Attack(data[: len(manifest) // 2]),
        "extended": Attack(data + b"\0"),
        "extended to 5 GiB": Attack(data, size=5 * GIB),
        "swapped signatures": Attack(edited(data, _swap)),
        "stub Dilithium": Attack(edited(data, _stub)),
        "no Dilithium": Attack(edited(data, _no_dilithium)),
        "wrong key, same fingerprint": Attack(resigned(data, other, lambda manifest: None)),
        "wrong key, its own public keys": Attack(resigned(data, other, _keys_of(other))),
        "wrong key, all its own": Attack(
            resigned(data, other, _identity_of(other)), options=("--require-trusted",)
        ),
        "duplicate JSON key": Attack(assemble(twice, payload)),
        "4 GiB declared": Attack(declared + manifest),
        "4 GiB declared and there": Attack(declared + manifest, size=4 * GIB + 4096),
        "1,000,000 levels": Attack(assemble(deep, payload)),
        "5,000,000 values": Attack(assemble(many, payload)),
        "no bytes": Attack(b""),
    }


def assemble(manifest: bytes, payload: bytes) -> bytes:
    """A package of these two parts."""
    return MAGIC + len(manifest).to_bytes(4, "little") + manifest + payload


def edited(data: bytes, change: Change) -> bytes:
    """The package with its manifest changed, hashes and signatures left as they were."""
    package = split_package(data)
    manifest: dict[str, Any] = json.loads(package.manifest_bytes)
    change(manifest)
    return assemble(canonical_json(manifest), bytes(package.payload))


def resigned(data: bytes, signer: KeyPair, change: Change) -> bytes:
    """The package changed, then hashed and signed anew by another key."""

    def sign(manifest: dict[str, Any]) -> None:
        change(manifest)
        manifest["integrity"]["manifest_hash"] = manifest_hash(manifest)
        message = signed_message(manifest, manifest["signatures"]["signed_fields"])
        manifest["signatures"]["ed25519"] = encode64(signer.sign_ed25519(message))
        manifest["signatures"]["dilithium3"] = encode64(signer.sign_ml_dsa_65(message))

    return edited(data, sign)


def _swap(manifest: dict[str, Any]) -> None:
    found = manifest["signatures"]
    found["ed25519"], found["dilithium3"] = found["dilithium3"], found["ed25519"]


def _stub(manifest: dict[str, Any]) -> None:
    stub = hashlib.sha512(manifest["signatures"]["ed25519"].encode()).digest() * 52
    manifest["signatures"]["dilithium3"] = encode64(stub[:3309])


def _no_dilithium(manifest: dict[str, Any]) -> None:
    manifest["signatures"]["dilithium3"] = ""


def _keys_of(signer: KeyPair) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        manifest["creator"].update(public_keys_fields(signer.public.keys))

    return change


def _identity_of(signer: KeyPair) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        _keys_of(signer)(manifest)
        manifest["creator"]["public_key_fingerprint"] = signer.public.fingerprint

    return change


def hex_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _adapter() -> bytes:
    generator = np.random.default_rng(0)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{prefix}.lora_A.weight": generator.normal(size=(8, 128)).astype(np.float32),
        f"{prefix}.lora_B.weight": generator.normal(size=(128, 8)).astype(np.float32),
    }
    return save(tensors, metadata={"format": "pt"})


def _metadata(creator: Identity, reports: dict[str, str]) -> PackageMetadata:
    model = ModelInfo("LlamaForCausalLM", "nano")
    lora = LoraShape(8, 16, ("q_proj",))
    skill = SkillInfo("A small adapter to be attacked.")
    evaluation = EvaluationInfo(0.9, (0.83, 0.94), 0.1, 100, reports["qa_verify"])
    privacy = PrivacyInfo("dp-sgd", 7.5, 1e-5, 1.0, 1.1, 0.05, 50, "PLD", "0.6")
    layers = ("toxicity", "bias", "ip", "allowlist", "svd_analysis", "mahalanobis_ood")
    facts = SkillFacts(
        "tamper-evidence", "general", model, lora, skill, evaluation, (), privacy, creator,
        trained_on=400,
    )  # fmt: skip
    provenance = Provenance(*(hex_of(part) for part in ("train", "test", "base", "tok", "chat")),
                            code_version="evidence", recipe="sft")  # fmt: skip
    return PackageMetadata(
        name="tamper-evidence",
        domain="general",
        created=now(),
        model=model,
        lora=lora,
        skill=skill,
        screening=ScreeningInfo(
            layers, True, now(), reports["rvu_v2_pass"], {"report_digest": reports["rvu_v2_pass"]}
        ),
        provenance=provenance,
        privacy=privacy,
        evaluation=evaluation,
        skill_doc=write_skill_doc(facts),
    )
