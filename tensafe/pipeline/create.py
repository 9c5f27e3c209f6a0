"""The steps of `tensafe train`, in order, each leaving its record in the run folder.

Invariants: nothing is packaged without the three gate records; a run folder belongs to one set of
settings and data; every file in it is written atomically; no training text reaches the package.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

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
from tensafe.evaluate import AnsweringModel, EvalReport, QaVerifyConfig, RunFacts, qa_verify
from tensafe.files import write_json, write_text
from tensafe.gate.dp_budget import dp_budget
from tensafe.gate.lifetime import PrivacyRegister, record_prints
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.events import LoggedView, View
from tensafe.pipeline.lineage import Parent
from tensafe.pipeline.packaging import package_run, run_provenance, signing_key
from tensafe.pipeline.run_folder import (
    RUN_LOCK,
    read_run,
    training_facts,
    write_run_file,
    writing,
)
from tensafe.screen import ScreenReport, screen_adapter
from tensafe.tgsp import KeyPair, PackageDigest, tensafe_home
from tinker_engine.recipes.sft import SftResult, run_sft
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord

if TYPE_CHECKING:
    from tinker_engine.connect import Connection
    from tinker_engine.recipes.chat_format import ChatFormat
    from tinker_engine.recipes.chat_model import ChatModel

MINIMUM_TRAIN = 20


class FurtherGate(Protocol):
    """Asked of a trained version before it is packaged; it leaves its own record."""

    def __call__(self, adapter: AnsweringModel, base: AnsweringModel) -> bool:
        """Whether the version may be packaged."""
        ...


@dataclass(frozen=True)
class Start:
    """The version to go on from: its PEFT folder, and what the next one's package says of it."""

    adapter: Path
    parent: Parent


@dataclass(frozen=True)
class _Models:
    """The trained version and its base."""

    adapter: ChatModel
    base: ChatModel


@dataclass(frozen=True)
class Outcome:
    """What a run came to; `package` is None when a gate said no."""

    folder: Path
    gates: ThreeGates
    evaluation: EvalReport
    screening: ScreenReport
    privacy: PrivacyRecord | None
    training: SftResult
    base: BaseInfo
    package: PackageDigest | None

    def to_json(self) -> dict[str, object]:
        """The figures that `--json` prints; no text of the data."""
        interval = self.evaluation.interval
        return {
            "run_folder": str(self.folder),
            "package": str(self.package.path) if self.package else None,
            "package_digest": self.package.package if self.package else None,
            "payload_digest": self.package.payload if self.package else None,
            "score": self.evaluation.score,
            "interval": [interval.low, interval.high] if interval else None,
            "base_score": self.evaluation.base_score,
            "test_items": len(self.evaluation.items),
            "epsilon": self.privacy.epsilon if self.privacy else None,
            "delta": self.privacy.delta if self.privacy else None,
            "screening": self.gates.rvu_v2_pass.verdict,
            "gates": {name: asdict(record)["verdict"] for name, record in vars(self.gates).items()},
            "base_model": self.base.name,
            "base_digest": self.base.digest,
            "steps": self.training.steps,
        }


def create_adapter(config: TrainConfig, view: View) -> Outcome:
    """Run the whole path; a killed run goes on when it is called again with the same settings.

    Raises:
        UsageError: the run folder holds a run with other settings, or another process writes it.
        DataError: nothing in the data can be learned from.
        TensafeError, EngineError: a step failed; what is done so far stays in the run folder.
    """
    from tinker_engine.connect import open_engine

    folder = config.run_folder
    # Once before the lock, which must not be left in a folder that is no run's, and once under it.
    claim_folder(folder, config)
    with writing(folder):
        claim_folder(folder, config)
        view = LoggedView(view, folder / "events.jsonl")
        # Asked for first: a missing passphrase should not surface after an hour of training.
        signer = signing_key(config, view)
        dataset = _curate(config, folder, view)
        view.stage("Starting the engine")
        with open_engine(config.engine, base_model=config.base_model) as engine:
            return adapter_of(config, dataset, engine, signer, view)


def adapter_of(
    config: TrainConfig,
    dataset: Dataset,
    engine: Connection,
    signer: KeyPair,
    view: View,
    *,
    start: Start | None = None,
    further: FurtherGate | None = None,
) -> Outcome:
    """Train, test, screen, judge and package an adapter of a data set, in a claimed run folder.

    Args:
        start: the version that is trained on, in place of a fresh adapter.
        further: what else has to say yes before there is a package.

    Raises as `create_adapter` does.
    """
    # The report reads this package's settings, so it can't be imported before them.
    from tensafe.report import write_report
    from tinker_engine.connect import (
        base_info,
        download_adapter,
        load_tokenizer,
        require_privacy,
        run_privacy,
    )
    from tinker_engine.recipes.chat_format import ChatFormat

    folder = config.run_folder
    keep_dataset(config, dataset, folder, view)
    base = base_info(engine)
    view.note(f"base model {base.name} ({base.architecture}), digest {base.digest[:16]}")
    if config.dp:
        require_privacy(engine)
    chat = ChatFormat(load_tokenizer(engine))
    training = train_run(config, folder, dataset, engine, base, chat, start, view)
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    adapter_dir = download_adapter(engine, training.checkpoint, folder / "adapter")
    privacy = run_privacy(engine, training.run_id) if config.dp else None
    models = _models(engine, base, chat, training)
    evaluation, screening = _judge(
        config, folder, dataset, base, models, adapter_dir, privacy, view
    )
    may_go = further is None or further(models.adapter, models.base)
    facts, parent = training_facts(training), start.parent if start else None
    provenance = run_provenance(config, dataset, base, facts, parent)
    write_json(folder / "provenance.json", asdict(provenance))
    gates = judge_run(config, folder, dataset, evaluation, screening, privacy, facts.examples, view)
    write_run_file(folder, base, facts, parent)
    is_passed = gates.all_pass() and may_go
    package = package_run(read_run(folder), signer) if is_passed else None
    outcome = Outcome(folder, gates, evaluation, screening, privacy, training, base, package)
    write_json(folder / "outcome.json", outcome.to_json())
    _conclude(outcome, write_report(folder), view)
    return outcome


def claim_folder(folder: Path, config: TrainConfig, *, beside: Sequence[str] = ()) -> None:
    """Bind the folder to these settings, or refuse it; `beside` may stand in it before.

    Raises:
        UsageError: it holds a run with other settings, or files that are no run.
    """
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
    beside = (*beside, RUN_LOCK)
    if folder.exists() and any(entry.name not in beside for entry in folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no run; give another --out")
    write_json(path, settings)


def _curate(config: TrainConfig, folder: Path, view: View) -> Dataset:
    """The curated data set."""
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
    return dataset


def keep_dataset(config: TrainConfig, dataset: Dataset, folder: Path, view: View) -> None:
    """Leave the data set and its card in the run folder."""
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
    start: Start | None,
    view: View,
) -> SftResult:
    """Train, or go on where a killed run ended."""
    from tinker_engine.connect import upload_adapter

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
        start_from=upload_adapter(engine, start.adapter) if start else "",
        on_progress=view.progress,
    )


def _models(engine: Connection, base: BaseInfo, chat: ChatFormat, training: SftResult) -> _Models:
    from tinker_engine.recipes.chat_model import ChatModel

    service = engine.service_client
    adapter = service.create_sampling_client(model_path=training.checkpoint).result()
    bare = service.create_sampling_client(base_model=base.name).result()
    return _Models(ChatModel(adapter, chat, "adapter"), ChatModel(bare, chat, base.name))


def _judge(
    config: TrainConfig,
    folder: Path,
    dataset: Dataset,
    base: BaseInfo,
    models: _Models,
    adapter_dir: Path,
    privacy: PrivacyRecord | None,
    view: View,
) -> tuple[EvalReport, ScreenReport]:
    adapter, bare = models.adapter, models.base
    evaluation = evaluate_run(config, folder, dataset, base, adapter, bare, privacy, view)
    return evaluation, screen_run(folder, dataset, adapter, bare, adapter_dir, view)


def evaluate_run(
    config: TrainConfig,
    folder: Path,
    dataset: Dataset,
    base: BaseInfo,
    adapter: AnsweringModel,
    bare: AnsweringModel,
    privacy: PrivacyRecord | None,
    view: View,
) -> EvalReport:
    """Answer the held-out examples and write `evaluation.json`."""
    view.stage("Testing on the held-out examples (qa_verify)")
    evaluation = qa_verify(
        adapter,
        bare,
        dataset,
        QaVerifyConfig(threshold=config.qa_threshold, max_items=config.max_test_items),
        facts=RunFacts(
            base_name=base.name,
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
    bare: AnsweringModel,
    adapter_dir: Path,
    view: View,
) -> ScreenReport:
    """Screen the adapter and write `screening.json` and `findings.jsonl`."""
    view.stage("Screening (RVUv2)")
    screening = screen_adapter(adapter, bare, adapter_dir, dataset)
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
    """The three verdicts, written into `gates.json`, the ledger's statement beside them."""
    view.stage("Gates")
    records = record_prints(dataset.train)
    budget = dp_budget(
        privacy,
        promised_epsilon=config.epsilon,
        lifetime_epsilon=config.lifetime_epsilon,
        # Its own release is none before it, where a run that was packaged is gone through again.
        spent=PrivacyRegister(tensafe_home()).spent_by(records, adapter=screening.adapter_digest),
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


def _conclude(outcome: Outcome, report: Path, view: View) -> None:
    if outcome.package is None:
        view.stage("No package: a gate said no")
    else:
        view.stage(f"Package {outcome.package.path}")
        view.note(f"digest {outcome.package.package}")
    view.note(f"report {report}")
