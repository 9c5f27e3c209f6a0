"""What `tensafe import` does: a foreign adapter through all three gates into a signed package.

How it was trained is not known here, so `dp_budget` is waived and never passed, and the quality
gate needs data that the user brings. A refused import leaves its reports and no package.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.curate import CurationConfig, curate_dataset, write_dataset
from tensafe.data.records import Dataset
from tensafe.errors import DataError, UsageError
from tensafe.evaluate import EvalReport, QaVerifyConfig, RunFacts, qa_verify
from tensafe.evaluate.selection import choose
from tensafe.files import write_json, write_text
from tensafe.gate.declared_base import local_base
from tensafe.gate.dp_budget import waived_for_import
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.events import View
from tensafe.pipeline.import_config import ImportConfig
from tensafe.pipeline.import_packaging import Imported, package_import
from tensafe.screen import ScreenConfig, ScreenReport, screen_adapter
from tensafe.screen.quotes import require_no_quotes
from tensafe.tgsp import KeyPair, PackageDigest
from tensafe.tgsp.foreign import PeftAdapter, find_adapter, fitting_targets, write_peft
from tinker_engine.runtime.records import BaseInfo

if TYPE_CHECKING:
    from tinker_engine.connect import Connection

IMPORT_FILE = "import.json"
MINIMUM_EVAL = 20


@dataclass(frozen=True)
class ImportOutcome:
    """What an import came to; `package` is None when a gate said no."""

    imported: Imported
    gates: ThreeGates
    evaluation: EvalReport
    screening: ScreenReport
    package: PackageDigest | None

    def to_json(self) -> dict[str, object]:
        """The figures that `--json` prints; no text of the data."""
        interval, package = self.evaluation.interval, self.package
        return {
            "folder": str(self.imported.folder),
            "package": str(package.path) if package else None,
            "package_digest": package.package if package else None,
            "payload_digest": self.imported.adapter.digest,
            "source_digest": self.imported.source_digest,
            "rank": self.imported.adapter.rank,
            "alpha": self.imported.adapter.alpha,
            "target_modules": list(self.imported.targets),
            "base_model": self.imported.base.name,
            "base_digest": self.imported.base.digest,
            "score": self.evaluation.score,
            "interval": [interval.low, interval.high] if interval else None,
            "base_score": self.evaluation.base_score,
            "test_items": len(self.evaluation.items),
            "gates": {name: record.verdict for name, record in vars(self.gates).items()},
            "notes": list(self.imported.adapter.notes),
        }


def import_adapter(
    config: ImportConfig, signer: KeyPair, view: View, *, skill_doc: str | None = None
) -> ImportOutcome:
    """Read, test, screen, judge and package an adapter that was trained elsewhere.

    Raises:
        UsageError: the folder is taken or holds a package, something is missing that only the
            user knows, or a pickle was given without leave.
        DataError, VerificationError: the adapter or the data can't be used.
        EngineError: the base can't be loaded, or refuses the adapter.
    """
    from tinker_engine.connect import open_engine

    folder = config.folder
    _claim(folder, config)
    view.stage(f"Reading {config.source}")
    found = find_adapter(config.source, allow_pickle=config.allow_pickle)
    shutil.rmtree(folder / "adapter", ignore_errors=True)
    adapter = write_peft(
        found, folder / "adapter", alpha=config.alpha, base_model=config.base_model
    )
    for note in adapter.notes:
        view.note(note)
    view.note(
        f"rank {adapter.rank}, alpha {adapter.alpha:g}, {len(adapter.modules)} modules, base "
        f"{adapter.base_model or 'not stated'}"
    )
    named = _base(config, adapter)
    dataset = _data(config, folder, view)
    if skill_doc is not None:
        allowed = (signer.identity.email,)
        require_no_quotes(
            "--skill-doc", skill_doc, (*dataset.train, *dataset.test), allowed=allowed
        )
    view.stage("Starting the engine")
    with open_engine(config.engine, base_model=named) as engine:
        base, targets = _settle(engine, adapter, view)
        evaluation, screening = _judge(config, engine, base, adapter, dataset, view)
    write_text(folder / "evaluation.json", evaluation.to_json())
    write_text(folder / "screening.json", screening.to_json())
    write_text(folder / "findings.jsonl", screening.findings_jsonl())
    gates = ThreeGates(evaluation.gate(), screening.gate(), waived_for_import())
    view.stage("Gates")
    for record in vars(gates).values():
        view.gate(record)
    write_json(folder / "gates.json", asdict(gates))
    imported = Imported(
        config, folder, adapter, tuple(targets), base, dataset, found.digest, found.parent
    )
    package = None
    if gates.all_pass():
        package = package_import(imported, evaluation, screening, gates, signer, skill_doc)
    outcome = ImportOutcome(imported, gates, evaluation, screening, package)
    write_json(folder / "outcome.json", outcome.to_json())
    _conclude(outcome, view)
    return outcome


def _claim(folder: Path, config: ImportConfig) -> None:
    """Take the folder, or one that an import of the same name left without a package."""
    package = folder / f"{config.adapter_name}.tgsp"
    if package.exists():
        # Else a package would lie beside the reports of an import that was refused.
        raise UsageError(f"{package} exists already; move it away, or give another --out")
    if folder.exists() and any(folder.iterdir()) and not (folder / IMPORT_FILE).is_file():
        raise UsageError(f"{folder} is not empty and holds no import; give another --out")
    settings = config.model_dump(mode="json", exclude={"out"})
    write_json(folder / IMPORT_FILE, {"version": 1, "settings": settings})


def _data(config: ImportConfig, folder: Path, view: View) -> Dataset:
    """Test side: all of the evaluation data; train side: what the user says it learned from."""
    curation = CurationConfig(
        question_columns=config.question_columns,
        answer_column=config.answer_column,
        include_prose=False,
    )
    evaluated = curate_dataset(config.eval_data, curation)
    test = (*evaluated.train, *evaluated.test)
    train = ()
    if config.train_data is not None:
        learned = curate_dataset(config.train_data)
        train = (*learned.train, *learned.test)
        view.note(f"{len(train)} examples of {config.train_data} taken as its training data")
    dataset = Dataset(train, test, evaluated.report)
    asked, coverage = choose(dataset, _quality(config))
    if len(asked) < MINIMUM_EVAL:
        close = coverage.close_to_training
        seen = f" ({close} more are too close to {config.train_data})" if close else ""
        raise DataError(
            f"{config.eval_data}: {len(asked)} questions with answers{seen}, at least "
            f"{MINIMUM_EVAL} are needed for qa_verify; see `tensafe analyze`"
        )
    view.note(f"{len(asked)} questions to be tested with, from {config.eval_data}")
    shutil.rmtree(folder / "dataset", ignore_errors=True)
    write_dataset(dataset, folder / "dataset")
    return dataset


def _quality(config: ImportConfig) -> QaVerifyConfig:
    return QaVerifyConfig(threshold=config.qa_threshold, max_items=config.max_test_items)


def _base(config: ImportConfig, adapter: PeftAdapter) -> str | None:
    """The base to open the engine with: the user's word, else the adapter's, if it is here."""
    if config.base_model is not None or (config.engine is not None and not adapter.base_model):
        return config.base_model
    if adapter.base_model is None:
        raise UsageError(
            f"{config.source}: nothing says which base model it was trained on; give --base-model "
            "with a folder, a hub id or nano"
        )
    found = local_base(adapter.base_model)
    if found is None:
        raise UsageError(
            f"{config.source} was trained on {adapter.base_model!r}, which is not on this machine; "
            "give --base-model with its folder, or with its hub id to have it fetched"
        )
    return found


def _settle(engine: Connection, adapter: PeftAdapter, view: View) -> tuple[BaseInfo, list[str]]:
    """Write the adapter's settings as they hold on the base that is running."""
    from tinker_engine.connect import base_info, base_shape
    from tinker_engine.models.adapter_files import AdapterConfig

    base = base_info(engine)
    view.note(f"base model {base.name} ({base.architecture}), digest {base.digest[:16]}")
    targets = fitting_targets(adapter.modules, base_shape(engine).modules)
    settled = AdapterConfig(
        base.name, adapter.rank, adapter.alpha, tuple(targets), adapter.fan_in_fan_out
    )
    write_text(adapter.folder / "adapter_config.json", settled.to_json())
    return base, targets


def _judge(
    config: ImportConfig,
    engine: Connection,
    base: BaseInfo,
    adapter: PeftAdapter,
    dataset: Dataset,
    view: View,
) -> tuple[EvalReport, ScreenReport]:
    from tinker_engine.connect import load_tokenizer, upload_adapter
    from tinker_engine.recipes.chat_format import ChatFormat
    from tinker_engine.recipes.chat_model import ChatModel

    chat, service = ChatFormat(load_tokenizer(engine)), engine.service_client
    path = upload_adapter(engine, adapter.folder)
    tested = ChatModel(
        service.create_sampling_client(model_path=path).result(), chat, config.adapter_name
    )
    alone = ChatModel(
        service.create_sampling_client(base_model=base.name).result(), chat, base.name
    )
    view.stage("Testing on the evaluation data (qa_verify)")
    evaluation = qa_verify(
        tested,
        alone,
        dataset,
        _quality(config),
        facts=RunFacts(base_name=base.name, rank=adapter.rank),
        labelled=dataset.train or dataset.test,
    )
    view.stage("Screening (RVUv2)")
    known = dataset if dataset.train else None
    screening = screen_adapter(
        tested,
        alone,
        adapter.folder,
        known,
        ScreenConfig(without_training_data=known is None),
    )
    return evaluation, screening


def _conclude(outcome: ImportOutcome, view: View) -> None:
    if outcome.package is None:
        view.stage("No package: a gate said no")
    else:
        view.stage(f"Package {outcome.package.path}")
        view.note(f"digest {outcome.package.package}")
    view.note(f"reports {outcome.imported.folder}")
