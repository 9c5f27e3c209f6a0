"""`TGTinker`: creating, judging, packaging and improving adapters, step by step or at once.

Every method does what the command of the same purpose does, through the same functions: nothing
is packaged without the three gates, and errors are those of `tensafe.errors`.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from tensafe.data.analysis import Analysis
from tensafe.data.domains import DomainGuess
from tensafe.data.records import Dataset, Example
from tensafe.errors import DataError, GateRefusedError, NothingToTrainError
from tensafe.evaluate import EvalReport
from tensafe.files import write_json
from tensafe.pipeline import Outcome, TrainConfig
from tensafe.pipeline import create_adapter as run_pipeline
from tensafe.pipeline.create import (
    MINIMUM_TRAIN,
    claim_folder,
    evaluate_run,
    judge_run,
    keep_dataset,
    screen_run,
    train_run,
)
from tensafe.pipeline.events import LoggedView, View
from tensafe.pipeline.packaging import package_run, run_provenance
from tensafe.pipeline.run_folder import read_run, training_facts, write_run_file
from tensafe.screen import ScreenReport
from tensafe.screen.quotes import require_no_quotes
from tensafe.skills.tg_tinker.checkpoint import Checkpoint
from tensafe.skills.tg_tinker.data_analyzer import analyze_data, classify_domain
from tensafe.skills.tg_tinker.export import ExportReport, export_tgsp
from tensafe.skills.tg_tinker.lora_config import LoraConfig
from tensafe.skills.tg_tinker.quiet import QuietView
from tensafe.skills.tg_tinker.settings import checked
from tensafe.tgsp import (
    KeyPair,
    ensure_signing_key,
    load_trust,
    passphrase_source,
    read_custom_skill_doc,
    trust_path,
)
from tensafe.tgsp.writer import refusal
from tensafe.validation import Scorecard, validate_with_engine

if TYPE_CHECKING:
    from tensafe.improve import Improvement, LoopConfig, LoopReport
    from tensafe.marketplace import Published
    from tinker_engine.connect import Connection
    from tinker_engine.recipes.chat_model import ChatModel

METADATA = frozenset({"name", "domain", "license", "compliance", "skill_doc"})


class _Judged(NamedTuple):
    """Reports of one run folder, by what was asked so far."""

    evaluation: EvalReport | None = None
    screening: ScreenReport | None = None


class TGTinker:
    """The agentic adapter creator.

        with TGTinker() as tinker:
            outcome = tinker.create_adapter("tickets.csv")

    As a context manager it keeps one engine open; else each step that needs one opens its own.
    """

    def __init__(
        self,
        folder: Path | str = "runs",
        *,
        engine: str | None = None,
        base_model: str | None = None,
        view: View | None = None,
    ) -> None:
        """Runs are kept under `folder`; `engine` and `base_model` are as in `tensafe train`."""
        self.folder = Path(folder)
        self._engine_name = engine
        self._base_model = base_model
        self._view: View = view or QuietView()
        self._open: Connection | None = None
        self._sources: dict[str, Path] = {}
        self._judged: dict[Path, _Judged] = {}

    def __enter__(self) -> TGTinker:
        """Open the engine."""
        from tinker_engine.connect import open_engine

        self._open = open_engine(self._engine_name, base_model=self._base_model)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the engine."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def create_adapter(
        self,
        data_path: Path | str,
        lora_config: LoraConfig | None = None,
        *,
        name: str | None = None,
        domain: str | None = None,
        **settings: Any,
    ) -> Outcome:
        """Mode 1: from data to a signed package, or to the gates' reasons why not.

        `settings` are further fields of `TrainConfig`, such as `dp`, `epsilon` or `creator`.

        Raises:
            UsageError: a setting is wrong, or the run folder holds a run with other settings.
            DataError: nothing in the data can be learned from.
        """
        config = self._config(data_path, lora_config, name=name, domain=domain, **settings)
        return run_pipeline(config, self._view)

    def analyze_data(self, data_path: Path | str) -> Analysis:
        """(1) Format, volume and domain of a file or folder."""
        return analyze_data(data_path)

    def classify_domain(self, analysis: Analysis | str) -> DomainGuess:
        """(2) The field of knowledge, with its confidence and the words that speak for it."""
        return classify_domain(analysis)

    def curate_dataset(self, data_path: Path | str, **settings: Any) -> Dataset:
        """(3) Cleaned examples, split 80/20 with near-duplicates on one side.

        `settings` are fields of `CurationConfig`.
        """
        from tensafe.curate import CurationConfig, curate_dataset

        dataset = curate_dataset(Path(data_path), checked(CurationConfig, settings))
        self._sources[dataset.train_digest] = Path(data_path)
        return dataset

    def train_sft(
        self,
        dataset: Dataset,
        lora_config: LoraConfig | None = None,
        *,
        name: str | None = None,
        domain: str | None = None,
        **settings: Any,
    ) -> Checkpoint:
        """(4) Train, with differential privacy unless `dp=False`; a killed run goes on.

        Raises:
            UsageError: a setting is wrong, or the run folder holds a run with other settings.
            NothingToTrainError: too few examples.
            EngineError: the engine refused, such as a step beyond the privacy budget.
        """
        from tinker_engine.connect import (
            base_info,
            download_adapter,
            load_tokenizer,
            require_privacy,
            run_privacy,
        )
        from tinker_engine.recipes.chat_format import ChatFormat

        data = self._sources.get(dataset.train_digest, Path(name or "adapter"))
        config = self._config(data, lora_config, name=name, domain=domain, **settings)
        folder = config.run_folder
        claim_folder(folder, config)
        # What was judged before was judged on the adapter that this one replaces.
        self._judged.pop(folder, None)
        view = LoggedView(self._view, folder / "events.jsonl")
        if len(dataset.train) < MINIMUM_TRAIN:
            raise NothingToTrainError(
                f"{len(dataset.train)} training examples, at least {MINIMUM_TRAIN} are needed"
            )
        keep_dataset(config, dataset, folder, view)
        with self._engine() as engine:
            base = base_info(engine)
            if config.dp:
                require_privacy(engine)
            chat = ChatFormat(load_tokenizer(engine))
            training = train_run(config, folder, dataset, engine, base, chat, None, view)
            shutil.rmtree(folder / "adapter", ignore_errors=True)
            download_adapter(engine, training.checkpoint, folder / "adapter")
            privacy = run_privacy(engine, training.run_id) if config.dp else None
        return Checkpoint(folder, config, dataset, base, training_facts(training), privacy)

    def evaluate(
        self, checkpoint: Checkpoint, test_split: Sequence[Example] | None = None
    ) -> EvalReport:
        """(5) `qa_verify` on the held-out split, adapter and base.

        Another split than the run's own gives a report, too, but none that a package can carry.
        """
        own = checkpoint.dataset
        dataset = own if test_split is None else replace(own, test=tuple(test_split))
        view = LoggedView(self._view, checkpoint.folder / "events.jsonl")
        is_own = dataset.test_digest == own.test_digest
        folder = checkpoint.folder if is_own else checkpoint.folder / "other_split"
        with self._models(checkpoint) as (adapter, base):
            report = evaluate_run(
                checkpoint.config,
                folder,
                dataset,
                checkpoint.base,
                adapter,
                base,
                checkpoint.privacy,
                view,
            )
        if is_own:
            judged = self._judged.get(checkpoint.folder, _Judged())
            self._judged[checkpoint.folder] = judged._replace(evaluation=report)
        return report

    def screen_rvu(self, checkpoint: Checkpoint) -> ScreenReport:
        """(6) RVUv2: behaviour against the base, and the weights."""
        view = LoggedView(self._view, checkpoint.folder / "events.jsonl")
        with self._models(checkpoint) as (adapter, base):
            report = screen_run(
                checkpoint.folder,
                checkpoint.dataset,
                adapter,
                base,
                checkpoint.adapter_dir,
                view,
            )
        judged = self._judged.get(checkpoint.folder, _Judged())
        self._judged[checkpoint.folder] = judged._replace(screening=report)
        return report

    def package_tgsp(
        self,
        checkpoint: Checkpoint,
        metadata: Mapping[str, object] | None = None,
        signing_key: KeyPair | str | None = None,
    ) -> Path:
        """(7) The signed package; what was not evaluated or screened yet is so now.

        Args:
            metadata: `name`, `domain`, `license`, `compliance` (claims of yours), `skill_doc` (the
                path of your own SKILL.md).
            signing_key: an unlocked key, the name of one, or None for the only one there is.

        Raises:
            GateRefusedError: a gate said no; the message has its advice.
            UsageError, DataError, KeyStoreError: metadata, skill document or key can't be used.
        """
        told = dict(metadata or {})
        document = _skill_doc(checkpoint, told.pop("skill_doc", None))
        config = _described(checkpoint.config, told)
        judged = self._judged.get(checkpoint.folder, _Judged())
        evaluation = judged.evaluation or self.evaluate(checkpoint)
        screening = judged.screening or self.screen_rvu(checkpoint)
        view = LoggedView(self._view, checkpoint.folder / "events.jsonl")
        gates = judge_run(
            checkpoint.config,
            checkpoint.folder,
            checkpoint.dataset,
            evaluation,
            screening,
            checkpoint.privacy,
            checkpoint.training.examples,
            view,
        )
        provenance = run_provenance(
            config, checkpoint.dataset, checkpoint.base, checkpoint.training
        )
        write_json(checkpoint.folder / "provenance.json", asdict(provenance))
        write_run_file(checkpoint.folder, checkpoint.base, checkpoint.training)
        for record in vars(gates).values():
            if record.verdict == "failed":
                raise GateRefusedError(refusal(record))
        run = replace(read_run(checkpoint.folder), config=config)
        return package_run(run, _signer(signing_key), skill_doc=document).path

    def export(
        self, tgsp_path: Path | str, format: str = "safetensors", *, out: Path | None = None
    ) -> ExportReport:
        """(8) The package's adapter as safetensors, pytorch or gguf, with a parity check."""
        return export_tgsp(tgsp_path, format, out=out, base_model=self._base_model)

    def validate(self, tgsp_path: Path | str) -> Scorecard:
        """The marketplace's suite, as a scorecard."""
        return validate_with_engine(
            Path(tgsp_path),
            load_trust(trust_path()),
            engine=self._engine_name,
            base_model=self._base_model,
        )

    def publish(self, tgsp_path: Path | str, marketplace: str | Path | None = None) -> Published:
        """Publish to a marketplace: a folder (None: the default one), a registry or a service."""
        from tensafe.marketplace import publish

        return publish(Path(tgsp_path), marketplace)

    def improve_adapter(
        self,
        current_adapter: Path | str,
        interaction_log: Path | str,
        feedback: Path | str | None = None,
        **settings: Any,
    ) -> Improvement:
        """Mode 2: the next version, from an agent's own log and what people said of it.

        `settings` are fields of `ImproveConfig`.
        """
        from tensafe.improve import ImproveConfig, improve_adapter

        return improve_adapter(
            Path(current_adapter),
            Path(interaction_log),
            None if feedback is None else Path(feedback),
            config=checked(ImproveConfig, settings),
            engine=self._open,
            view=self._view,
        )

    def continuous_improve(
        self,
        adapter_path: Path | str,
        traffic_sample: Path | str,
        loop_config: LoopConfig | None = None,
    ) -> LoopReport:
        """Mode 3: take up live traffic, train when there is enough, ask for a swap."""
        from tensafe.improve import continuous_improve

        path = Path(adapter_path)
        return continuous_improve(
            path,
            Path(traffic_sample),
            loop_config,
            folder=self.folder / f"{path.resolve().stem}-loop",
            view=self._view,
            engine=self._open,
        )

    def _config(
        self, data: Path | str, lora_config: LoraConfig | None, **settings: Any
    ) -> TrainConfig:
        given: dict[str, object] = {
            "data": Path(data),
            "engine": self._engine_name,
            "base_model": self._base_model,
            **(lora_config or LoraConfig()).settings(),
            **settings,
        }
        config = checked(TrainConfig, given)
        if config.out is None:
            config = checked(TrainConfig, {**given, "out": self.folder / config.adapter_name})
        return config

    @contextmanager
    def _engine(self) -> Generator[Connection]:
        from tinker_engine.connect import open_engine

        if self._open is not None and not self._open.is_closed:
            yield self._open
            return
        with open_engine(self._engine_name, base_model=self._base_model) as connection:
            yield connection

    @contextmanager
    def _models(self, checkpoint: Checkpoint) -> Generator[tuple[ChatModel, ChatModel]]:
        """Adapter and base, from the files of the run folder; another base is refused."""
        from tinker_engine.connect import base_info, load_tokenizer, upload_adapter
        from tinker_engine.recipes.chat_format import ChatFormat
        from tinker_engine.recipes.chat_model import ChatModel

        with self._engine() as engine:
            base = base_info(engine)
            if base.digest != checkpoint.base.digest:
                raise DataError(
                    f"{checkpoint.folder} was trained on {checkpoint.base.name} with digest "
                    f"{checkpoint.base.digest[:16]}, the engine has {base.name} with "
                    f"{base.digest[:16]}"
                )
            chat, service = ChatFormat(load_tokenizer(engine)), engine.service_client
            path = upload_adapter(engine, checkpoint.adapter_dir)
            yield (
                ChatModel(
                    service.create_sampling_client(model_path=path).result(), chat, "adapter"
                ),
                ChatModel(
                    service.create_sampling_client(base_model=base.name).result(), chat, base.name
                ),
            )


def _described(config: TrainConfig, told: Mapping[str, object]) -> TrainConfig:
    """The run's settings with the owner's words in them, and nothing else changed."""
    from tensafe.errors import UsageError

    unknown = sorted(set(told) - METADATA)
    if unknown:
        raise UsageError(f"metadata: {unknown[0]!r} is none of {', '.join(sorted(METADATA))}")
    return checked(TrainConfig, {**config.model_dump(), **told})


def _skill_doc(checkpoint: Checkpoint, path: object) -> str | None:
    if path is None:
        return None
    document = read_custom_skill_doc(Path(str(path)))
    examples = (*checkpoint.dataset.train, *checkpoint.dataset.test)
    require_no_quotes(str(path), document, examples)
    return document


def _signer(key: KeyPair | str | None) -> KeyPair:
    if isinstance(key, KeyPair):
        return key
    return ensure_signing_key(key, passphrase=passphrase_source())
