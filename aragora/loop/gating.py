"""From a candidate to a package that its gates let through, and into the debaters' set.

The three gates judge before anything is written, and tensafe's load gate judges what was written.
`qa_verify` asks the held-out tasks that decide (never the reported ones) and compares with the
base; the screening is the full one. A version that any of them refuses is never used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aragora.loop.learning import training_rows
from aragora.loop.tasks import LoopTask
from tensafe.data.records import CurationReport, Dataset, Example, Message
from tensafe.gate.records import ThreeGates
from tensafe.tgsp import (
    EvaluationInfo,
    KeyPair,
    LayerResult,
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

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel
    from aragora.training.results import TrainingResult
    from tensafe.evaluate import EvalReport
    from tensafe.screen import ScreenReport
    from tinker_engine.runtime.records import BaseInfo

WEIGHTS = "adapter_model.safetensors"
_PROMISED_EPSILON = 8.0


def judge_candidate(
    served: ServedModel,
    training: TrainingResult,
    folder: Path,
    check: Sequence[LoopTask],
    signer: KeyPair,
) -> dict[str, Any]:
    """Run the three gates; write the package when all let it through, and charge its records.

    Gives the verdict of each gate, reasons of refusals, and the package's path ("" for none).
    """
    from tensafe.evaluate import QaVerifyConfig, qa_verify
    from tensafe.gate.dp_budget import dp_budget
    from tensafe.gate.lifetime import PrivacyRegister, record_prints
    from tensafe.screen import screen_adapter
    from tensafe.tgsp import tensafe_home
    from tinker_engine.connect import base_info, download_adapter
    from tinker_engine.recipes.chat_model import ChatModel

    base = base_info(served.connection)
    dataset = dataset_of(folder, check)
    # A download that was cut off is begun anew.
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    adapter = download_adapter(served.connection, training.checkpoint, folder / "adapter")
    candidate = ChatModel(served.load(training.checkpoint), served.chat, "candidate")
    bare = ChatModel(served.load(None), served.chat, base.name)
    evaluation = qa_verify(candidate, bare, dataset, QaVerifyConfig(train_probe_items=0))
    (folder / "evaluation.json").write_text(evaluation.to_json(), "utf-8")
    screening = screen_adapter(candidate, bare, adapter, dataset)
    (folder / "screening.json").write_text(screening.to_json(), "utf-8")
    register, records = PrivacyRegister(tensafe_home()), record_prints(dataset.train)
    budget = dp_budget(
        None,
        promised_epsilon=_PROMISED_EPSILON,
        lifetime_epsilon=_PROMISED_EPSILON,
        spent=register.spent_by(records, adapter=screening.adapter_digest),
        examples=len(dataset.train),
        record_set=dataset.train_digest,
        private=False,
    )
    gates = ThreeGates(evaluation.gate(), screening.gate(), budget)
    package = ""
    if gates.all_pass():
        path = folder / f"{training.model_id}.tgsp"
        described = _metadata(training, adapter, dataset, base, evaluation, screening, signer)
        # Before the package, so that a crash between the two over-counts.
        register.release(training.model_id, None, 0.0, records, adapter=screening.adapter_digest)
        write_package(
            path, payload=adapter / WEIGHTS, metadata=described, gates=gates, signer=signer
        )
        package = str(path)
    return {
        "verdicts": {name: record.verdict for name, record in vars(gates).items()},
        "reasons": {
            name: record.reason
            for name, record in vars(gates).items()
            if record.verdict == "failed"
        },
        "gates": json.loads(json.dumps(asdict(gates))),
        "qa_score": evaluation.score,
        "qa_base_score": evaluation.base_score,
        "package": package,
        "adapter_digest": screening.adapter_digest,
    }


def dataset_of(folder: Path, check: Sequence[LoopTask]) -> Dataset:
    """What a round trained on, and the held-out tasks that decide, as the gates want them."""
    rows = training_rows(folder)
    chosen = [
        (*pair.prompt, Message(role="assistant", content=pair.chosen)) for pair in rows.preferences
    ]
    train = {
        example.digest: example
        for place, turns in enumerate((*rows.conversations, *chosen))
        for example in [
            _example(
                tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns),
                "debates",
                place,
            )
        ]
    }
    test = [
        _example(
            (
                Message(role="user", content=task.question),
                Message(role="assistant", content=task.answer),
            ),
            "held-out tasks",
            place,
        )
        for place, task in enumerate(check)
    ]
    return Dataset(tuple(train.values()), tuple(test), CurationReport(files_read=0, bytes_read=0))


def _example(turns: tuple[Message, ...], source: str, place: int) -> Example:
    return Example(turns, source=source, place=str(place), group=f"{source}:{place}")


def _metadata(
    training: TrainingResult,
    adapter: Path,
    dataset: Dataset,
    base: BaseInfo,
    evaluation: EvalReport,
    screening: ScreenReport,
    signer: KeyPair,
) -> PackageMetadata:
    declared: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    targets = tuple(sorted(str(t) for t in declared["target_modules"]))
    lora = LoraShape(int(declared["r"]), float(declared["lora_alpha"]), targets)
    model = ModelInfo(architecture=base.architecture, base_model=base.name)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    interval = evaluation.interval
    info = EvaluationInfo(
        score=evaluation.score,
        interval=(interval.low, interval.high) if interval else (0.0, 1.0),
        base_score=evaluation.base_score,
        test_size=len(evaluation.items),
        report_digest=evaluation.digest,
        p_value=evaluation.paired.p_value if evaluation.paired else None,
    )
    skill = SkillInfo(
        description="LoRA adapter that answers at once what debates of its base came to.",
        triggers=("a task of the kinds that were debated",),
        capabilities=("answers held-out tasks of the same kinds",),
        input_format="chat messages; one user turn",
        output_format="text",
    )
    layers = tuple(LayerResult(x.name, x.passed, f"{x.score:.3f}") for x in screening.layers)
    facts = SkillFacts(
        name=training.model_id,
        domain="general",
        model=model,
        lora=lora,
        skill=skill,
        evaluation=info,
        screening=layers,
        privacy=None,
        creator=signer.identity,
        trained_on=len(dataset.train),
        untested=("Tested on tasks of the kinds that were debated alone.",),
    )
    return PackageMetadata(
        name=training.model_id,
        domain="general",
        created=now,
        model=model,
        lora=lora,
        skill=skill,
        screening=ScreeningInfo(
            layers=tuple(x.name for x in screening.layers),
            passed=screening.passed,
            timestamp=now,
            report_digest=screening.digest,
            record=screening.public(),
        ),
        provenance=Provenance(
            train_data=dataset.train_digest,
            test_data=dataset.test_digest,
            base_weights=base.digest,
            tokenizer=base.tokenizer_digest,
            chat_template=base.chat_template_digest,
            code_version=f"aragora {metadata.version('aragora')}",
            recipe="debate: " + training.training_type,
            hyper_parameters={"steps": training.steps, "training_set": training.training_set},
        ),
        privacy=None,
        evaluation=info,
        skill_doc=write_skill_doc(facts),
    )
