"""What the package writer is told: typed records, and the manifest parts made of them.

Owns the shape of a package's own story (base, adapter, skill, screening, origin, privacy, score).
Nothing here is measured or checked against a gate; `writer.py` does that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tensafe.tgsp.canonical import canonical_json, sha256_hex

WEIGHT_LAYERS = ("allowlist", "svd_analysis", "mahalanobis_ood")


@dataclass(frozen=True)
class ModelInfo:
    """The base model: transformers architecture name, and the id or name it is loaded by."""

    architecture: str
    base_model: str
    num_experts: int = 0
    experts_per_token: int = 0


@dataclass(frozen=True)
class LoraShape:
    """The nine fields of `lora_config`; the last three are the format's defaults."""

    rank: int
    alpha: float
    target_modules: tuple[str, ...]
    lora_dropout: float = 0.0
    bias: str = "none"
    task_type: str = "CAUSAL_LM"
    simd_slots: int = 8192
    cols_per_ct: int = 5
    batches: int = 6


@dataclass(frozen=True)
class SkillInfo:
    """What the adapter is for. `compliance` holds claims that the creator declares and signs."""

    description: str
    triggers: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    input_format: str = "chat messages"
    output_format: str = "text"
    compliance: tuple[str, ...] = ()
    composable_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScreeningInfo:
    """The screening result: every layer that ran, and the SHA-256 of the report file.

    `record` is the report without any text (`tensafe.screen.records.public_record`). It stands in
    the package, and `screening_hash` is the SHA-256 of its canonical JSON.
    """

    layers: tuple[str, ...]
    passed: bool
    timestamp: str
    report_digest: str
    record: dict[str, object]


@dataclass(frozen=True)
class Provenance:
    """Hex SHA-256 digests of everything the adapter was made from; empty where there is none.

    `hyper_parameters` are the recipe's settings, `parent` the digest of the package that this one
    continues, `labels` further facts in the creator's words.
    """

    train_data: str
    test_data: str
    base_weights: str
    tokenizer: str
    chat_template: str
    code_version: str
    recipe: str
    hyper_parameters: dict[str, object] = field(default_factory=dict)
    parent: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PrivacyInfo:
    """The privacy facts of a private run; `details` holds what else the ledger states.

    `unit` says what one record is, `trained` which factors took noise.
    """

    mechanism: str
    epsilon: float
    delta: float
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    accountant: str
    accountant_version: str
    unit: str = "one example after curation"
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationInfo:
    """qa_verify on the held-out split: shares in 0..1, the interval's confidence in `confidence`.

    `base_score` is None when the base model could not be asked.
    """

    score: float
    interval: tuple[float, float]
    base_score: float | None
    test_size: int
    report_digest: str
    p_value: float | None = None
    confidence: float = 0.95


@dataclass(frozen=True)
class PackageMetadata:
    """Everything a manifest says beside hashes, signatures, gates and the signer's identity.

    `created` is ISO 8601 in UTC. `privacy` None means that training was not private, and is
    written as mechanism `none`. `skill_doc` is the whole embedded SKILL.md.
    """

    name: str
    domain: str
    created: str
    model: ModelInfo
    lora: LoraShape
    skill: SkillInfo
    screening: ScreeningInfo
    provenance: Provenance
    privacy: PrivacyInfo | None
    evaluation: EvaluationInfo
    skill_doc: str


def manifest_parts(metadata: PackageMetadata) -> dict[str, object]:
    """The manifest without creator, gates, integrity and signatures, as plain JSON values."""
    return {
        "format": "TGSP",
        "version": "1.1",
        "name": metadata.name,
        "domain": metadata.domain,
        "created": metadata.created,
        "model": _model(metadata.model),
        "lora_config": _lora_config(metadata.lora),
        "skill": _skill(metadata.skill, metadata.evaluation.score),
        "skill_doc": metadata.skill_doc,
        "rvu_safety": _rvu_safety(metadata.screening),
        "screening": dict(metadata.screening.record),
        "provenance": _provenance(metadata.provenance),
        "privacy": _privacy(metadata.privacy),
        "evaluation": _evaluation(metadata.evaluation),
    }


def _model(model: ModelInfo) -> dict[str, object]:
    return {
        "architecture": model.architecture,
        "base_model": model.base_model,
        "num_experts": model.num_experts,
        "experts_per_token": model.experts_per_token,
    }


def _lora_config(lora: LoraShape) -> dict[str, object]:
    return {
        "rank": lora.rank,
        "alpha": lora.alpha,
        "target_modules": list(lora.target_modules),
        "lora_dropout": lora.lora_dropout,
        "bias": lora.bias,
        "task_type": lora.task_type,
        "simd_slots": lora.simd_slots,
        "cols_per_ct": lora.cols_per_ct,
        "batches": lora.batches,
    }


def _skill(skill: SkillInfo, score: float) -> dict[str, object]:
    return {
        "description": skill.description,
        "triggers": list(skill.triggers),
        "capabilities": list(skill.capabilities),
        "input_format": skill.input_format,
        "output_format": skill.output_format,
        "quality_score": score,
        "compliance": list(skill.compliance),
        "composable_with": list(skill.composable_with),
    }


def _rvu_safety(screening: ScreeningInfo) -> dict[str, object]:
    return {
        "version": "RVUv2",
        "layers": list(screening.layers),
        "screening_passed": screening.passed,
        "screening_timestamp": screening.timestamp,
        "screening_hash": sha256_hex(canonical_json(screening.record)),
    }


def _provenance(provenance: Provenance) -> dict[str, object]:
    return {
        "train_data": provenance.train_data,
        "test_data": provenance.test_data,
        "base_weights": provenance.base_weights,
        "tokenizer": provenance.tokenizer,
        "chat_template": provenance.chat_template,
        "code_version": provenance.code_version,
        "recipe": provenance.recipe,
        "hyper_parameters": dict(provenance.hyper_parameters),
        "parent": provenance.parent,
        "labels": dict(provenance.labels),
    }


def _privacy(privacy: PrivacyInfo | None) -> dict[str, object]:
    if privacy is None:
        return {"mechanism": "none"}
    return {
        "mechanism": privacy.mechanism,
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "clip_norm": privacy.clip_norm,
        "noise_multiplier": privacy.noise_multiplier,
        "sampling_rate": privacy.sampling_rate,
        "steps": privacy.steps,
        "accountant": privacy.accountant,
        "accountant_version": privacy.accountant_version,
        "unit": privacy.unit,
        "details": dict(privacy.details),
    }


def _evaluation(evaluation: EvaluationInfo) -> dict[str, object]:
    return {
        "score": evaluation.score,
        "interval": list(evaluation.interval),
        "base_score": evaluation.base_score,
        "test_size": evaluation.test_size,
        "report_digest": evaluation.report_digest,
        "p_value": evaluation.p_value,
        "confidence": evaluation.confidence,
    }
