"""From a finished run to a signed package. Figures and the owner's words only, no training text.

`tensafe train` and `tensafe pack` both end here, with a run read back from its folder.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tensafe.curate.card import dataset_domain
from tensafe.data.records import Dataset
from tensafe.gate.dp_budget import dp_budget
from tensafe.gate.lifetime import PrivacyRegister, record_prints
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.events import View
from tensafe.pipeline.lineage import Parent
from tensafe.pipeline.run_folder import FinishedRun, TrainingFacts
from tensafe.tgsp import (
    KeyPair,
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
from tensafe.tgsp.writer import require_gates
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

RECIPE = "sft"
_TOKEN_SUMS = ("trained_tokens", "total_tokens")


def signing_key(config: TrainConfig, view: View) -> KeyPair:
    """The creator's key, unlocked; made on first use."""
    pair = ensure_signing_key(
        config.creator, passphrase=passphrase_source(), email=config.creator_email
    )
    view.note(f"signing as {pair.identity.name}, key {pair.public.fingerprint[:16]}")
    return pair


def package_run(
    run: FinishedRun, signer: KeyPair, *, path: Path | None = None, skill_doc: str | None = None
) -> PackageDigest:
    """Write and sign a run's package, in the run folder unless `path` says otherwise.

    `skill_doc` stands in place of the document that is written from the figures. The privacy
    register is asked and charged again, once per adapter: the charge comes before the package, so
    that a crash between the two over-counts.

    Raises:
        GateRefusedError: a gate said no, or says so now.
    """
    path = path if path is not None else run.folder / f"{run.config.adapter_name}.tgsp"
    described = _metadata(run, signer, skill_doc)
    gates = _gates_now(run)
    require_gates(gates, described)
    # A run without privacy is charged as well: its records have nothing left for a private one.
    spent = run.privacy
    PrivacyRegister(tensafe_home()).release(
        run.config.adapter_name,
        None if spent is None else spent.epsilon,
        0.0 if spent is None else spent.delta,
        record_prints(run.dataset.train),
        adapter=run.adapter_digest,
        # Asked again under the register's lock: another run may have been packaged since.
        lifetime=run.config.lifetime_epsilon,
        delta_limit=1.0 / run.training.examples,
    )
    return write_package(path, payload=run.weights, metadata=described, gates=gates, signer=signer)


def _gates_now(run: FinishedRun) -> ThreeGates:
    """The run's gates, with dp_budget judged by what the records have spent up to now."""
    if run.gates.dp_budget.verdict == "failed":
        return run.gates
    records = record_prints(run.dataset.train)
    budget = dp_budget(
        run.privacy,
        promised_epsilon=run.config.epsilon,
        lifetime_epsilon=run.config.lifetime_epsilon,
        spent=PrivacyRegister(tensafe_home()).spent_by(records, adapter=run.adapter_digest),
        examples=run.training.examples,
        record_set=run.dataset.train_digest,
        private=run.config.dp,
    )
    return replace(run.gates, dp_budget=budget)


def _metadata(run: FinishedRun, signer: KeyPair, skill_doc: str | None) -> PackageMetadata:
    domain = run.config.domain or dataset_domain(run.dataset).domain
    config, base, now = run.config, run.base, datetime.now(UTC).isoformat(timespec="seconds")
    model = ModelInfo(architecture=base.architecture, base_model=base.name)
    lora = LoraShape(
        rank=config.rank,
        alpha=config.alpha,
        target_modules=config.target_modules,
        lora_dropout=config.dropout,
    )
    skill, privacy = _skill(config, domain, run.dataset), _privacy(run.privacy)
    written = SkillFacts(
        name=config.adapter_name,
        domain=domain,
        model=model,
        lora=lora,
        skill=skill,
        evaluation=run.evaluation,
        screening=run.layers,
        privacy=privacy,
        creator=signer.identity,
        trained_on=run.training.examples,
        untested=(
            "Tested on a held-out fifth of the same data alone; other sources were not tried.",
        ),
        license=config.license or "",
    )
    return PackageMetadata(
        name=config.adapter_name,
        domain=domain,
        created=now,
        model=model,
        lora=lora,
        skill=skill,
        screening=ScreeningInfo(
            layers=tuple(layer.name for layer in run.layers),
            passed=run.screening_passed,
            timestamp=now,
            report_digest=run.screening_digest,
            record=run.screening_record,
        ),
        provenance=run_provenance(config, run.dataset, base, _published(run), run.parent),
        privacy=privacy,
        evaluation=run.evaluation,
        skill_doc=skill_doc if skill_doc is not None else write_skill_doc(written),
    )


def run_provenance(
    config: TrainConfig,
    dataset: Dataset,
    base: BaseInfo,
    training: TrainingFacts,
    parent: Parent | None = None,
) -> Provenance:
    """What the adapter was made from and by, in digests and settings; also of a refused run."""
    return Provenance(
        train_data=dataset.train_digest,
        test_data=dataset.test_digest,
        base_weights=base.digest,
        tokenizer=base.tokenizer_digest,
        chat_template=base.chat_template_digest,
        code_version=f"aragora {metadata.version('aragora')}",
        recipe=RECIPE,
        hyper_parameters={
            **config.sft().model_dump(mode="json", exclude_none=True),
            "plan": training.plan,
            "steps_done": training.steps,
            "stopped": training.stopped,
        },
        parent=parent.package if parent else "",
        labels={
            **(parent.labels() if parent else {}),
            **({"license": config.license} if config.license else {}),
        },
    )


def _published(run: FinishedRun) -> TrainingFacts:
    """What training was like; a private run's token counts are sums over its records."""
    if not run.config.dp:
        return run.training
    plan = {name: value for name, value in run.training.plan.items() if name not in _TOKEN_SUMS}
    return replace(run.training, plan=plan)


def _skill(config: TrainConfig, domain: str, dataset: Dataset) -> SkillInfo:
    if config.dp:
        # One record of several turns would decide it.
        turns = ""
    else:
        chats = any(len(example.messages) > 2 for example in dataset.train)
        turns = "; several turns" if chats else "; one user turn"
    return SkillInfo(
        description=(
            f"LoRA adapter that answers questions of the {domain} domain as learned from "
            f"the data set {config.adapter_name}."
        ),
        triggers=(f"a request of the kind found in {config.adapter_name}",),
        capabilities=("answers held-out questions of the same data set",),
        input_format=f"chat messages{turns}",
        output_format="text",
        compliance=config.compliance,
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
