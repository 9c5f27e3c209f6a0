"""The parts of making an adapter, each leaving its record in the run folder.

`create_adapter` runs them in order; the Python interface offers them one by one.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.curate import (
    CurationConfig,
    Teacher,
    TeacherConfig,
    curate_dataset,
    write_dataset,
)
from tensafe.curate.card import CardFacts, dataset_domain, describe_dataset
from tensafe.data.records import Dataset
from tensafe.errors import NothingToTrainError, UsageError
from tensafe.evaluate import EvalReport, QaVerifyConfig, RunFacts, qa_verify
from tensafe.evaluate.model import AnsweringModel
from tensafe.files import write_json, write_text
from tensafe.gate.dp_budget import dp_budget
from tensafe.gate.lifetime import PrivacyRegister
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.events import View
from tensafe.screen import ScreenReport, screen_adapter
from tensafe.tgsp import tensafe_home
from tinker_engine.recipes.sft import SftResult, run_sft
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

if TYPE_CHECKING:
    from tinker_engine.connect import Connection
    from tinker_engine.recipes.chat_format import ChatFormat

MINIMUM_TRAIN = 20


def claim_folder(folder: Path, config: TrainConfig) -> None:
    """Bind the folder to these settings, or refuse it."""
    path = folder / "config.json"
    settings = config.model_dump(mode="json", exclude={"out"})
    settings["data"] = str(config.data.resolve())
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != settings:
            raise UsageError(
                f"{folder} holds a run with other settings; give the same settings to resume it, "
                "or another --out"
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no run; give another --out")
    write_json(path, settings)


def curate_run(config: TrainConfig, folder: Path, view: View) -> Dataset:
    """The data set, kept in the run folder with its card."""
    view.stage(f"Reading {config.data}")
    curation = CurationConfig(
        question_columns=config.question_columns,
        answer_column=config.answer_column,
        include_prose=config.prose,
        redact_pii=config.redact_pii,
    )
    dataset = _taught(config, curation, folder, view)
    report = dataset.report
    for source, mapping in report.mappings.items():
        view.note(f"{source}: {mapping}")
    for problem in report.unreadable[:20]:
        where = f"{problem.source} ({problem.place})" if problem.place else problem.source
        view.note(f"not used: {where}: {problem.reason}; {problem.advice}")
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(report.dropped.items()))
    view.note(
        f"{report.files_read} files, {len(dataset.train)} training and {len(dataset.test)} test "
        f"examples" + (f"; dropped: {dropped}" if dropped else "")
    )
    keep_dataset(config, folder, dataset, view)
    return dataset


def keep_dataset(config: TrainConfig, folder: Path, dataset: Dataset, view: View) -> None:
    """Write the data set and its card into the run folder.

    Raises:
        NothingToTrainError: too little is left to learn from.
    """
    report = dataset.report
    if len(dataset.train) < MINIMUM_TRAIN:
        raise NothingToTrainError(
            f"{config.data}: {len(dataset.train)} training examples after curation, at least "
            f"{MINIMUM_TRAIN} are needed; name the columns with --question-column and "
            "--answer-column, or see `tensafe analyze`"
        )
    if report.pii:
        what = "replaced by marks" if report.is_redacted else "kept; --redact replaces them"
        counts = ", ".join(f"{count} {kind}" for kind, count in report.pii.items())
        view.note(f"personal data and secrets: {counts} ({what})")
    write_dataset(dataset, folder / "dataset")
    guess = dataset_domain(dataset)
    domain = config.domain or guess.domain
    if config.domain is None:
        view.note(
            f"domain {domain}, confidence {guess.confidence:.2f} ({', '.join(guess.evidence[:5])})"
        )
    card = CardFacts(config.adapter_name, str(config.data), domain, config.data_license)
    write_text(folder / "dataset" / "README.md", describe_dataset(dataset, card))


def _taught(config: TrainConfig, curation: CurationConfig, folder: Path, view: View) -> Dataset:
    """The curated data, with the pairs of a teacher where one is named."""
    if config.teacher is None:
        return curate_dataset(config.data, curation)
    view.note(f"passages of prose are sent to {config.teacher}, which writes questions from them")

    def on_passage(done: int, total: int) -> None:
        if done % max(1, total // 10) == 0 or done == total:
            view.note(f"teacher: {done} of {total} passages")

    settings = TeacherConfig(url=config.teacher, model=config.teacher_model)
    with Teacher(settings, folder / "teacher.jsonl") as teacher:
        return curate_dataset(config.data, curation, teacher=teacher, on_passage=on_passage)


def train_run(
    config: TrainConfig,
    folder: Path,
    dataset: Dataset,
    engine: Connection,
    base: BaseInfo,
    chat: ChatFormat,
    view: View,
) -> SftResult:
    """Train, or go on where a killed run ended."""
    sft = config.sft()
    what = f"epsilon {config.epsilon:g}" if config.dp else "without privacy (--no-dp)"
    view.stage(f"Training rank {config.rank} LoRA, {what}")
    view.note("loss on ⟦⟧ only: " + chat.preview(dataset.train[0].messages)[:300])
    if config.dp:
        view.note("unit of privacy: one example after curation; losses shown are for you alone")
    return run_sft(
        engine.service_client,
        chat,
        [example.messages for example in dataset.train],
        sft,
        folder / "training",
        base_model=base.name,
        hidden_size=base.hidden_size,
        record_set=dataset.train_digest,
        on_progress=view.progress,
    )


def evaluate_run(
    config: TrainConfig,
    folder: Path,
    dataset: Dataset,
    adapter: AnsweringModel,
    base: AnsweringModel,
    base_name: str,
    privacy: PrivacyRecord | None,
    view: View,
) -> EvalReport:
    """Answer the held-out examples and write `evaluation.json`."""
    view.stage("Testing on the held-out examples (qa_verify)")
    evaluation = qa_verify(
        adapter,
        base,
        dataset,
        QaVerifyConfig(threshold=config.qa_threshold, max_items=config.max_test_items),
        facts=RunFacts(
            base_name=base_name,
            rank=config.rank,
            epsilon=privacy.epsilon if privacy else None,
            train_examples=len(dataset.train),
            epochs=None if config.dp else config.epochs,
        ),
    )
    write_text(folder / "evaluation.json", evaluation.to_json())
    return evaluation


def screen_run(
    folder: Path,
    dataset: Dataset,
    adapter: AnsweringModel,
    base: AnsweringModel,
    adapter_dir: Path,
    view: View,
) -> ScreenReport:
    """Screen the adapter and write `screening.json` and `findings.jsonl`."""
    view.stage("Screening (RVUv2)")
    screening = screen_adapter(adapter, base, adapter_dir, dataset)
    write_text(folder / "screening.json", screening.to_json())
    write_text(folder / "findings.jsonl", screening.findings_jsonl())
    return screening


def judge_run(
    config: TrainConfig,
    folder: Path,
    dataset: Dataset,
    evaluation: EvalReport,
    screening: ScreenReport,
    privacy: PrivacyRecord | None,
    examples: int,
    view: View,
) -> ThreeGates:
    """The three verdicts, written into `gates.json`; the ledger's statement beside them."""
    view.stage("Gates")
    records = [example.digest for example in dataset.train]
    budget = dp_budget(
        privacy,
        promised_epsilon=config.epsilon,
        lifetime_epsilon=config.lifetime_epsilon,
        spent=PrivacyRegister(tensafe_home()).spent_by(records),
        examples=examples,
        record_set=dataset.train_digest,
        private=config.dp,
    )
    gates = ThreeGates(qa_verify=evaluation.gate(), rvu_v2_pass=screening.gate(), dp_budget=budget)
    for record in vars(gates).values():
        view.gate(record)
    write_json(folder / "gates.json", asdict(gates))
    if privacy is not None:
        write_json(folder / "privacy.json", asdict(privacy))
    return gates
