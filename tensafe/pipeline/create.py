"""The steps of `tensafe train`, in order, each leaving its record in the run folder.

Invariants: nothing is packaged without the three gate records; a run folder belongs to one set of
settings and data; every file in it is written atomically; no training text reaches the package.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from tensafe.evaluate import EvalReport
from tensafe.files import write_json
from tensafe.gate.records import ThreeGates
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.events import LoggedView, View
from tensafe.pipeline.packaging import package_run, run_provenance, signing_key
from tensafe.pipeline.run_folder import read_run, training_facts, write_run_file
from tensafe.pipeline.steps import (
    claim_folder,
    curate_run,
    evaluate_run,
    judge_run,
    screen_run,
    train_run,
)
from tensafe.screen import ScreenReport
from tensafe.tgsp import PackageDigest
from tinker_engine.recipes.sft import SftResult
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord


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
        UsageError: the run folder holds a run with other settings.
        DataError: nothing in the data can be learned from.
        TensafeError, EngineError: a step failed; what is done so far stays in the run folder.
    """
    # The report reads this package's settings, so it can't be imported before them.
    from tensafe.report import write_report
    from tinker_engine.connect import (
        base_info,
        download_adapter,
        load_tokenizer,
        open_engine,
        require_privacy,
        run_privacy,
    )
    from tinker_engine.recipes.chat_format import ChatFormat
    from tinker_engine.recipes.chat_model import ChatModel

    folder = config.run_folder
    claim_folder(folder, config)
    view = LoggedView(view, folder / "events.jsonl")
    # Asked for first: a missing passphrase should not surface after an hour of training.
    signer = signing_key(config, view)
    dataset = curate_run(config, folder, view)
    view.stage("Starting the engine")
    with open_engine(config.engine, base_model=config.base_model) as engine:
        base = base_info(engine)
        view.note(f"base model {base.name} ({base.architecture}), digest {base.digest[:16]}")
        if config.dp:
            require_privacy(engine)
        chat = ChatFormat(load_tokenizer(engine))
        training = train_run(config, folder, dataset, engine, base, chat, view)
        shutil.rmtree(folder / "adapter", ignore_errors=True)
        adapter_dir = download_adapter(engine, training.checkpoint, folder / "adapter")
        privacy = run_privacy(engine, training.run_id) if config.dp else None
        service = engine.service_client
        adapted = ChatModel(
            service.create_sampling_client(model_path=training.checkpoint).result(), chat, "adapter"
        )
        alone = ChatModel(
            service.create_sampling_client(base_model=base.name).result(), chat, base.name
        )
        evaluation = evaluate_run(config, folder, dataset, adapted, alone, base.name, privacy, view)
        screening = screen_run(folder, dataset, adapted, alone, adapter_dir, view)
    facts = training_facts(training)
    provenance = run_provenance(config, dataset, base, facts)
    write_json(folder / "provenance.json", asdict(provenance))
    gates = judge_run(config, folder, dataset, evaluation, screening, privacy, facts.examples, view)
    write_run_file(folder, base, facts)
    package = package_run(read_run(folder), signer) if gates.all_pass() else None
    outcome = Outcome(folder, gates, evaluation, screening, privacy, training, base, package)
    write_json(folder / "outcome.json", outcome.to_json())
    _conclude(outcome, write_report(folder), view)
    return outcome


def _conclude(outcome: Outcome, report: Path, view: View) -> None:
    if outcome.package is None:
        view.stage("No package: a gate said no")
    else:
        view.stage(f"Package {outcome.package.path}")
        view.note(f"digest {outcome.package.package}")
    view.note(f"report {report}")
