"""A finished run read back from its folder, which is all that packaging is made from.

Refuses a run that did not come to its gates, and one whose files are no longer those that the
gates judged: reports are held against the digests in the gate records, the adapter against the
screening, the data against both.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tensafe.curate.dataset_files import read_dataset
from tensafe.data.records import Dataset
from tensafe.errors import DataError, GateRefusedError
from tensafe.files import owned, write_json
from tensafe.gate.records import GateRecord, ThreeGates
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.lineage import Parent, parent_of
from tensafe.screen.records import public_record
from tensafe.screen.subject import is_run, read_object
from tensafe.tgsp import EvaluationInfo, LayerResult
from tinker_engine.recipes.sft import SftResult
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

WEIGHTS = "adapter_model.safetensors"
RUN_FILE = "run.json"
RUN_LOCK = "run.lock"


@dataclass(frozen=True)
class TrainingFacts:
    """What was trained: the plan as JSON, training examples, steps done, why it ended."""

    plan: dict[str, Any]
    examples: int
    steps: int
    stopped: str


@dataclass(frozen=True)
class FinishedRun:
    """Everything that a package says of a run, and the gate records as they were written."""

    folder: Path
    config: TrainConfig
    dataset: Dataset
    base: BaseInfo
    training: TrainingFacts
    evaluation: EvaluationInfo
    layers: tuple[LayerResult, ...]
    screening_digest: str
    screening_record: dict[str, object]
    screening_passed: bool
    privacy: PrivacyRecord | None
    gates: ThreeGates
    adapter_digest: str
    parent: Parent | None = None

    @property
    def weights(self) -> Path:
        """The adapter's safetensors file."""
        return self.folder / "adapter" / WEIGHTS


def writing(folder: Path) -> AbstractContextManager[None]:
    """Have a run's folder for this process alone, while a run is made in it.

    Raises:
        UsageError: another process makes one there.
    """
    return owned(
        folder / RUN_LOCK,
        f"another process writes the run in {folder}; wait for it, or give another --out",
    )


def training_facts(training: SftResult) -> TrainingFacts:
    """The part of a training result that its run keeps."""
    return TrainingFacts(
        plan=training.plan.to_json(),
        examples=training.plan.train,
        steps=training.steps,
        stopped=training.stopped,
    )


def write_run_file(
    folder: Path, base: BaseInfo, training: TrainingFacts, parent: Parent | None = None
) -> None:
    """Leave the facts that no other file of the run holds."""
    document = {"version": 1, "base": vars(base), "training": vars(training)}
    if parent is not None:
        document["parent"] = vars(parent)
    write_json(folder / RUN_FILE, document)


def read_run(folder: Path) -> FinishedRun:
    """Read a run folder.

    Raises:
        DataError: it is no run, is not finished, or a file is malformed.
        GateRefusedError: a file is not the one that its gate judged.
    """
    if not is_run(folder):
        raise DataError(
            f"{folder}: not a run folder; give the folder that `tensafe train` made "
            "(config.json, dataset/, adapter/, gates.json)"
        )
    missing = [
        name
        for name in ("gates.json", RUN_FILE, "evaluation.json", "screening.json")
        if not (folder / name).is_file()
    ]
    if missing or not (folder / "adapter" / WEIGHTS).is_file():
        lacking = missing[0] if missing else f"adapter/{WEIGHTS}"
        raise DataError(
            f"{folder}: the run is not finished (there is no {lacking}); give the same "
            "`tensafe train` command again, which goes on where it ended"
        )
    try:
        return _read(folder)
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise DataError(
            f"{folder}: a record of the run is not what was written there ({error!r}); train it "
            "again in a new folder"
        ) from error


def _read(folder: Path) -> FinishedRun:
    gates = _gates(read_object(folder / "gates.json"))
    _require_digest(folder / "evaluation.json", gates.qa_verify)
    _require_digest(folder / "screening.json", gates.rvu_v2_pass)
    run, screening = read_object(folder / RUN_FILE), read_object(folder / "screening.json")
    evaluation = read_object(folder / "evaluation.json")
    dataset = read_dataset(folder / "dataset")
    for name, report in (("evaluation.json", evaluation), ("screening.json", screening)):
        if report["train_digest"] != dataset.train_digest:
            raise GateRefusedError(f"{folder / name} judged an adapter of another data set")
    adapter = folder / "adapter" / WEIGHTS
    digest = hashlib.sha256(adapter.read_bytes()).hexdigest()
    if digest != screening["adapter_digest"]:
        raise GateRefusedError(f"rvu_v2_pass: {adapter} is not the adapter that was screened")
    settings = read_object(folder / "config.json")
    private = folder / "privacy.json"
    config = TrainConfig(**settings, out=folder)
    return FinishedRun(
        folder=folder,
        config=config,
        dataset=dataset,
        base=BaseInfo(**run["base"]),
        training=TrainingFacts(**run["training"]),
        evaluation=_evaluation(evaluation, gates.qa_verify.report_digest),
        layers=tuple(
            LayerResult(str(one["name"]), one["passed"] is True, f"{one['score']:.3f}")
            for one in screening["layers"]
        ),
        screening_digest=gates.rvu_v2_pass.report_digest,
        screening_record=public_record(screening, gates.rvu_v2_pass.report_digest),
        screening_passed=screening["passed"] is True,
        privacy=PrivacyRecord(**read_object(private)) if config.dp and private.is_file() else None,
        gates=gates,
        adapter_digest=digest,
        parent=parent_of(run),
    )


def _gates(document: dict[str, Any]) -> ThreeGates:
    def record(name: str) -> GateRecord:
        fields: dict[str, Any] = document[name]
        return replace(GateRecord(**fields), advice=tuple(fields["advice"]))

    return ThreeGates(record("qa_verify"), record("rvu_v2_pass"), record("dp_budget"))


def _require_digest(path: Path, record: GateRecord) -> None:
    if hashlib.sha256(path.read_bytes()).hexdigest() != record.report_digest:
        raise GateRefusedError(
            f"{record.name}: {path} is not the report that the gate judged; train again in a new "
            "folder"
        )


def _evaluation(report: dict[str, Any], digest: str) -> EvaluationInfo:
    interval, paired = report["interval"], report["paired"]
    # Without a scorable item there is no interval, and the gate has failed.
    low, high = (interval["low"], interval["high"]) if interval else (0.0, 1.0)
    return EvaluationInfo(
        score=float(report["score"]),
        interval=(float(low), float(high)),
        base_score=float(report["base_score"]),
        test_size=len(report["items"]),
        report_digest=digest,
        p_value=float(paired["p_value"]) if paired else None,
    )
