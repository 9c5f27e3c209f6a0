"""A small real adapter and everything a package of it needs, for the tests of this room."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from safetensors.numpy import save

from tensafe.gate.records import GateRecord, ThreeGates
from tensafe.tgsp import (
    EvaluationInfo,
    Identity,
    KeyPair,
    LoraShape,
    ModelInfo,
    PackageMetadata,
    PrivacyInfo,
    Provenance,
    ScreeningInfo,
    SkillFacts,
    SkillInfo,
    write_skill_doc,
)
from tensafe.tgsp.keys import PublicIdentity
from tensafe.tgsp.trust import TrustedCreator, TrustStore

CREATOR = Identity("Ada Example", "ada@example.org", "Example Cooperative")
CREATED = "2026-01-02T03:04:05Z"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def key_pair(seed: int = 1, identity: Identity = CREATOR) -> KeyPair:
    """A key that is the same in every run; never one for real packages."""
    return KeyPair(
        identity,
        ed25519_seed=bytes([seed]) * 32,
        ml_dsa_65_seed=bytes([seed + 100]) * 32,
        created=CREATED,
    )


def trusting(*publics: PublicIdentity, **fields: Any) -> TrustStore:
    return TrustStore({p.fingerprint: TrustedCreator(p, CREATED, **fields) for p in publics})


def adapter(rank: int = 2, width: int = 16) -> bytes:
    """A rank-2 LoRA on one projection, as PEFT names its tensors."""
    generator = np.random.default_rng(0)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    return save(
        {
            f"{prefix}.lora_A.weight": generator.normal(size=(rank, width)).astype(np.float32),
            f"{prefix}.lora_B.weight": generator.normal(size=(width, rank)).astype(np.float32),
        },
        metadata={"format": "pt"},
    )


def gates(*, private: bool = True) -> ThreeGates:
    return ThreeGates(
        GateRecord(
            "qa_verify", "passed", 0.91, 0.8, "91 of 100", report_digest=digest("evaluation")
        ),
        GateRecord(
            "rvu_v2_pass", "passed", 0.0, 0.0, "6 layers", report_digest=digest("screening")
        ),
        GateRecord("dp_budget", "passed", 7.9, 8.0, "epsilon 7.9 of 8")
        if private
        else GateRecord("dp_budget", "waived", 0.0, 8.0, "trained without privacy"),
    )


def metadata(*, private: bool = True, **changes: Any) -> PackageMetadata:
    model = ModelInfo("LlamaForCausalLM", "nano")
    lora = LoraShape(rank=2, alpha=4, target_modules=("q_proj",))
    skill = SkillInfo(
        "Names the department that a customer's message belongs to.",
        triggers=("Which team handles this message?",),
        capabilities=("routing of customer messages",),
    )
    evaluation = EvaluationInfo(0.91, (0.838, 0.952), 0.12, 100, digest("evaluation"), 1e-9)
    privacy = PrivacyInfo("dp-sgd", 7.9, 1e-5, 1.0, 1.2, 0.05, 70, "dp-accounting PLD", "0.6.0")
    facts = SkillFacts(
        "support-routing", "customer support", model, lora, skill, evaluation,
        (), privacy if private else None, CREATOR, trained_on=400,
    )  # fmt: skip
    made = PackageMetadata(
        name="support-routing",
        domain="customer support",
        created=CREATED,
        model=model,
        lora=lora,
        skill=skill,
        screening=ScreeningInfo(
            ("toxicity", "bias", "ip", "allowlist", "svd_analysis", "mahalanobis_ood"),
            True, CREATED, digest("screening"), {"report_digest": digest("screening")},
        ),
        provenance=Provenance(
            digest("train"), digest("test"), digest("base"), digest("tokenizer"),
            digest("template"), "0.1.0", "sft", {"learning_rate": 0.001, "steps": 70},
        ),
        privacy=privacy if private else None,
        evaluation=evaluation,
        skill_doc=write_skill_doc(facts),
    )  # fmt: skip
    return replace(made, **changes)
