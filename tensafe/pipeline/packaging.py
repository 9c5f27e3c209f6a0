"""From a run's records to the package writer's typed metadata. Figures only, no training text."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tensafe.data.domains import GENERAL
from tensafe.data.records import Dataset
from tensafe.evaluate import EvalReport
from tensafe.gate.lifetime import PrivacyRegister
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.events import View
from tensafe.screen import ScreenReport
from tensafe.tgsp import (
    EvaluationInfo,
    KeyPair,
    LayerResult,
    LoraShape,
    ModelInfo,
    PackageDigest,
    PackageMetadata,
    PrivacyInfo,
    Provenance,
    ScreeningInfo,
    SkillFacts,
    SkillInfo,
    ensure_signing_key,
    passphrase_source,
    tensafe_home,
    write_package,
    write_skill_doc,
)
from tinker_engine.recipes.sft import SftResult
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

RECIPE = "sft"


def signing_key(config: TrainConfig, view: View) -> KeyPair:
    """The creator's key, unlocked; made on first use."""
    pair = ensure_signing_key(
        config.creator, passphrase=passphrase_source(), email=config.creator_email
    )
    view.note(f"signing as {pair.identity.name}, key {pair.public.fingerprint[:16]}")
    return pair


def package_adapter(
    config: TrainConfig,
    folder: Path,
    dataset: Dataset,
    base: BaseInfo,
    training: SftResult,
    evaluation: EvalReport,
    screening: ScreenReport,
    privacy: PrivacyRecord | None,
    gates: ThreeGates,
    signer: KeyPair,
    adapter_dir: Path,
) -> PackageDigest:
    """Charge the privacy register, then write and sign the package in the run folder.

    The charge comes first: a crash between the two over-counts.
    """
    path = folder / f"{config.adapter_name}.tgsp"
    described = _metadata(config, dataset, base, training, evaluation, screening, privacy, signer)
    if privacy is not None:
        PrivacyRegister(tensafe_home()).release(
            config.adapter_name,
            privacy.epsilon,
            privacy.delta,
            [example.digest for example in dataset.train],
        )
    return write_package(
        path,
        payload=adapter_dir / "adapter_model.safetensors",
        metadata=described,
        gates=gates,
        signer=signer,
    )


def _metadata(
    config: TrainConfig,
    dataset: Dataset,
    base: BaseInfo,
    training: SftResult,
    evaluation: EvalReport,
    screening: ScreenReport,
    privacy: PrivacyRecord | None,
    signer: KeyPair,
) -> PackageMetadata:
    model = ModelInfo(architecture=base.architecture, base_model=base.name)
    lora = LoraShape(
        rank=config.rank,
        alpha=config.alpha,
        target_modules=config.target_modules,
        lora_dropout=config.dropout,
    )
    skill = _skill(config, dataset)
    facts_of_evaluation = _evaluation(evaluation)
    facts_of_privacy = _privacy(privacy)
    document = write_skill_doc(
        SkillFacts(
            name=config.adapter_name,
            domain=config.domain or GENERAL,
            model=model,
            lora=lora,
            skill=skill,
            evaluation=facts_of_evaluation,
            screening=tuple(
                LayerResult(layer.name, layer.passed, f"{layer.score:.3f}")
                for layer in screening.layers
            ),
            privacy=facts_of_privacy,
            creator=signer.identity,
            trained_on=training.plan.train,
            untested=(
                "Tested on a held-out fifth of the same data alone; other sources were not tried.",
            ),
        )
    )
    return PackageMetadata(
        name=config.adapter_name,
        domain=config.domain or GENERAL,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model,
        lora=lora,
        skill=skill,
        screening=ScreeningInfo(
            layers=tuple(layer.name for layer in screening.layers),
            passed=screening.passed,
            timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
            report_digest=screening.digest,
        ),
        provenance=Provenance(
            train_data=dataset.train_digest,
            test_data=dataset.test_digest,
            base_weights=base.digest,
            tokenizer=base.tokenizer_digest,
            chat_template=base.chat_template_digest,
            code_version=f"aragora {metadata.version('aragora')}",
            recipe=RECIPE,
            hyper_parameters={
                **config.sft().model_dump(mode="json", exclude_none=True),
                "plan": training.plan.to_json(),
                "steps_done": training.steps,
                "stopped": training.stopped,
            },
        ),
        privacy=facts_of_privacy,
        evaluation=facts_of_evaluation,
        skill_doc=document,
    )


def _skill(config: TrainConfig, dataset: Dataset) -> SkillInfo:
    chats = sum(len(example.messages) > 2 for example in dataset.train)
    return SkillInfo(
        description=(
            f"LoRA adapter that answers questions of the {config.domain} domain as learned from "
            f"the data set {config.adapter_name}."
        ),
        triggers=(f"a request of the kind found in {config.adapter_name}",),
        capabilities=("answers held-out questions of the same data set",),
        input_format="chat messages; " + ("several turns" if chats else "one user turn"),
        output_format="text",
    )


def _evaluation(report: EvalReport) -> EvaluationInfo:
    interval = report.interval
    if interval is None:
        raise ValueError("an evaluation without items passes no gate and is never packaged")
    return EvaluationInfo(
        score=report.score,
        interval=(interval.low, interval.high),
        base_score=report.base_score,
        test_size=len(report.items),
        report_digest=report.digest,
        p_value=report.paired.p_value if report.paired else None,
    )


def _privacy(record: PrivacyRecord | None) -> PrivacyInfo | None:
    if record is None:
        return None
    return PrivacyInfo(
        mechanism=record.mechanism,
        epsilon=record.epsilon,
        delta=record.delta,
        clip_norm=record.clip_norm,
        noise_multiplier=record.noise_multiplier,
        sampling_rate=record.sampling_rate,
        steps=record.steps,
        accountant=record.accountant,
        accountant_version=record.accountant_version,
        unit=record.unit,
        details={
            "trained": record.lora_train,
            "expected_batch_size": record.expected_batch_size,
            "declared": record.declared,
            "ledger_digest": record.ledger_digest,
        },
    )
