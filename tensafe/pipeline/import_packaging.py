"""From a judged import to a signed package, through the one writer.

What is not known of an adapter that was trained elsewhere stands as not known: no training data
(unless its owner gave it), no hyper-parameters, no privacy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tensafe.curate.card import dataset_domain
from tensafe.data.records import Dataset
from tensafe.errors import VerificationError
from tensafe.evaluate import EvalReport
from tensafe.gate.lifetime import PrivacyRegister, record_prints
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.import_config import ImportConfig
from tensafe.screen import ScreenReport
from tensafe.tgsp import (
    EvaluationInfo,
    KeyPair,
    LayerResult,
    LoraShape,
    ModelInfo,
    PackageDigest,
    PackageMetadata,
    Provenance,
    ScreeningInfo,
    SkillFacts,
    SkillInfo,
    tensafe_home,
    write_package,
    write_skill_doc,
)
from tensafe.tgsp.foreign import PeftAdapter
from tensafe.tgsp.foreign.finding import WEIGHTS_FILE
from tensafe.tgsp.writer import require_gates
from tinker_engine.runtime.records import BaseInfo

RECIPE = "import"
UNTESTED = (
    "It was trained elsewhere: its training data, settings and privacy are not known here.",
    "Tested on data that its importer chose; whether it had learned any of it can't be seen.",
)
UNTESTED_BY_WORD = (
    "It was trained elsewhere: its settings and privacy are not known here, and what it learned "
    "from is its importer's word.",
    "Tested on data that its importer chose, without what is close to the training data.",
)


@dataclass(frozen=True)
class Imported:
    """An adapter in its import folder, on the base that it was tested on.

    `source_digest` is the hex SHA-256 of the file that held its weights, `parent` that of the
    package they came in ("" where they came in none).
    """

    config: ImportConfig
    folder: Path
    adapter: PeftAdapter
    targets: tuple[str, ...]
    base: BaseInfo
    dataset: Dataset
    source_digest: str
    parent: str


def package_import(
    imported: Imported,
    evaluation: EvalReport,
    screening: ScreenReport,
    gates: ThreeGates,
    signer: KeyPair,
    skill_doc: str | None,
) -> PackageDigest:
    """Write and sign the package in the import's folder.

    Raises:
        GateRefusedError: a gate said no.
        VerificationError: the weights in the folder are no longer those that were judged.
    """
    weights = imported.adapter.folder / WEIGHTS_FILE
    payload = weights.read_bytes()
    if hashlib.sha256(payload).hexdigest() != imported.adapter.digest:
        raise VerificationError(f"{weights} was changed while it was judged; nothing was packaged")
    described = _metadata(imported, evaluation, screening, gates, signer, skill_doc)
    require_gates(gates, described)
    if imported.dataset.train:
        # No privacy is known of it, so what it learned from has nothing left.
        PrivacyRegister(tensafe_home()).release(
            imported.config.adapter_name,
            None,
            0.0,
            record_prints(imported.dataset.train),
            adapter=imported.adapter.digest,
        )
    return write_package(
        imported.folder / f"{imported.config.adapter_name}.tgsp",
        payload=payload,
        metadata=described,
        gates=gates,
        signer=signer,
    )


def _metadata(
    imported: Imported,
    evaluation: EvalReport,
    screening: ScreenReport,
    gates: ThreeGates,
    signer: KeyPair,
    skill_doc: str | None,
) -> PackageMetadata:
    config, base, adapter = imported.config, imported.base, imported.adapter
    domain = config.domain or dataset_domain(_evaluated(imported.dataset)).domain
    now = datetime.now(UTC).isoformat(timespec="seconds")
    model = ModelInfo(architecture=base.architecture, base_model=base.name)
    lora = LoraShape(rank=adapter.rank, alpha=adapter.alpha, target_modules=imported.targets)
    skill = SkillInfo(
        description=config.description
        or f"LoRA adapter {config.adapter_name}, trained elsewhere, for the {domain} domain.",
        capabilities=("answers questions like those of its importer's evaluation data",),
        input_format="chat messages",
        compliance=config.compliance,
    )
    tested = _evaluation(evaluation, gates)
    facts = SkillFacts(
        name=config.adapter_name,
        domain=domain,
        model=model,
        lora=lora,
        skill=skill,
        evaluation=tested,
        screening=tuple(
            LayerResult(layer.name, layer.passed, f"{layer.score:.3f}")
            for layer in screening.layers
        ),
        privacy=None,
        creator=signer.identity,
        trained_on=len(imported.dataset.train) or None,
        untested=UNTESTED_BY_WORD if imported.dataset.train else UNTESTED,
        license=config.license or "",
        is_foreign=True,
    )
    return PackageMetadata(
        name=config.adapter_name,
        domain=domain,
        created=now,
        model=model,
        lora=lora,
        skill=skill,
        screening=ScreeningInfo(
            layers=tuple(layer.name for layer in screening.layers),
            passed=screening.passed,
            timestamp=now,
            report_digest=gates.rvu_v2_pass.report_digest,
            record=screening.public(),
        ),
        provenance=_provenance(imported),
        privacy=None,
        evaluation=tested,
        skill_doc=skill_doc if skill_doc is not None else write_skill_doc(facts),
    )


def _evaluated(dataset: Dataset) -> Dataset:
    """The evaluation data where the domain is looked for."""
    return Dataset(dataset.test, (), dataset.report)


def _evaluation(report: EvalReport, gates: ThreeGates) -> EvaluationInfo:
    interval = report.interval
    return EvaluationInfo(
        score=report.score,
        interval=(interval.low, interval.high) if interval else (0.0, 1.0),
        base_score=report.base_score,
        test_size=len(report.items),
        report_digest=gates.qa_verify.report_digest,
        p_value=report.paired.p_value if report.paired else None,
    )


def _provenance(imported: Imported) -> Provenance:
    config, base, dataset = imported.config, imported.base, imported.dataset
    labels = {
        "imported_from": config.source.resolve().name,
        "imported_sha256": imported.source_digest,
        **({"license": config.license} if config.license else {}),
    }
    return Provenance(
        train_data=dataset.train_digest if dataset.train else "",
        test_data=dataset.test_digest,
        base_weights=base.digest,
        tokenizer=base.tokenizer_digest,
        chat_template=base.chat_template_digest,
        code_version=f"aragora {metadata.version('aragora')}",
        recipe=RECIPE,
        parent=imported.parent,
        labels=labels,
    )
