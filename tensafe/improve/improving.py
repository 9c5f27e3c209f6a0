"""Mode 2: from a version and its logs to the next version, or to the reasons why there is none.

Invariants: nothing is packaged without the three gates and the comparison with the version before;
what was decided before training is kept, so that a killed improvement goes on with the same
records; no text of a log leaves the run folder, unless a teacher was named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tensafe.data.records import Dataset
from tensafe.errors import DataError, UsageError
from tensafe.evaluate import AnsweringModel
from tensafe.files import write_json, write_text
from tensafe.improve.budget import Budget
from tensafe.improve.comparison import Comparison, compare_versions
from tensafe.improve.config import ImproveConfig
from tensafe.improve.current import IMPROVE, Current, read_current
from tensafe.improve.interactions import (
    Feedbacks,
    Interaction,
    InteractionLog,
    read_feedback,
    read_log,
    with_feedback,
)
from tensafe.improve.models import model_of
from tensafe.improve.planning import Plan, planned
from tensafe.improve.redaction import redacted
from tensafe.improve.silent import SilentView
from tensafe.improve.story import tell
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.create import Outcome, Start, adapter_of, claim_folder
from tensafe.pipeline.events import LoggedView, View
from tensafe.pipeline.packaging import signing_key
from tensafe.pipeline.run_folder import writing

if TYPE_CHECKING:
    from tinker_engine.connect import Connection


@dataclass(frozen=True)
class Improvement:
    """What an improvement came to; `outcome.package` is None when something said no."""

    plan: Plan
    comparison: Comparison
    outcome: Outcome
    version: int

    @property
    def package(self) -> Path | None:
        """The next version's package, if there is one."""
        return self.outcome.package.path if self.outcome.package else None

    def to_json(self) -> dict[str, object]:
        """The figures that `--json` prints; no text of the data."""
        plan = self.plan
        return {
            **self.outcome.to_json(),
            "version": self.version,
            "verdicts": plan.verdicts,
            "weak_spots": [{"name": s.name, "size": s.size} for s in plan.weak_spots],
            "better_answers": plan.how,
            "confirmed": plan.confirmed,
            "unresolved": plan.unresolved,
            "new_train": plan.new_train,
            "new_test": plan.new_test,
            "replayed": plan.replayed,
            "replay": plan.budget.replay,
            "comparison": self.comparison.to_json(),
        }


def improve_adapter(
    current_adapter: Path | str,
    interaction_log: Path | str | Sequence[Interaction],
    feedback: Path | str | Feedbacks | None = None,
    *,
    config: ImproveConfig | None = None,
    engine: Connection | None = None,
    view: View | None = None,
    **settings: Any,
) -> Improvement:
    """Make the next version of an adapter from its logs; a killed one goes on when called again.

    Args:
        current_adapter: run folder of the current version, or the package in it.
        interaction_log: a JSONL file, or interactions at hand.
        feedback: more feedback, by interaction id.
        engine: an open engine to use in place of the one that `config` names.
        settings: fields of `ImproveConfig` by name, in place of those of `config`.

    Raises:
        UsageError: a setting is not allowed, the engine runs another base, or another process
            writes the run.
        DataError: the version or the log can't be used.
        NothingToTrainError: too few better answers were found.
        GateRefusedError: the records' privacy budget is spent.
        TensafeError, EngineError: a step failed; what is done so far stays in the run folder.
    """
    from tinker_engine.connect import open_engine

    config = improve_config(config, settings)
    current = read_current(Path(current_adapter))
    config = config.model_copy(update={"redact_pii": redacts(current, config)})
    log = _log(interaction_log, feedback)
    if config.redact_pii:
        # Before anything reads it: a teacher, the plan, the page for people.
        log = replace(log, interactions=tuple(redacted(one) for one in log.interactions))
    folder = config.out or current.run.folder.with_name(
        f"{_stem(current)}-v{current.parent.version + 1}"
    )
    view = LoggedView(view or SilentView(), folder / IMPROVE / "events.jsonl")
    for line in log.unreadable[:20]:
        view.note(f"not used: {line.source} ({line.place}): {line.reason}; {line.advice}")
    # Asked for first: a missing passphrase should not surface after an hour of training.
    signer = signing_key(current.run.config, view)
    with writing(folder), ExitStack() as stack:
        if engine is None:
            view.stage("Starting the engine")
            engine = stack.enter_context(
                open_engine(
                    config.engine or current.run.config.engine,
                    base_model=current.run.config.base_model or current.run.base.name,
                )
            )
        _require_base(engine, current)
        old = model_of(engine, current.adapter)
        plan, dataset = planned(current, log, config, folder, engine, old, view)
        training = _settings(current, config, plan.budget, folder)
        claim_folder(folder, training, beside=(IMPROVE,))
        compared: list[Comparison] = []

        def is_better(adapter: AnsweringModel, base: AnsweringModel) -> bool:
            del base
            compared.append(_compare(current, dataset, adapter, old, config, folder, view))
            return compared[0].passed

        outcome = adapter_of(
            training,
            dataset,
            engine,
            signer,
            LoggedView(view, folder / "events.jsonl"),
            start=Start(current.adapter, current.parent),
            further=is_better,
        )
    improvement = Improvement(plan, compared[0], outcome, current.parent.version + 1)
    write_text(folder / IMPROVE / "improvement.md", tell(improvement, current))
    return improvement


def redacts(current: Current, config: ImproveConfig) -> bool:
    """Whether personal data is replaced: when asked for, and always where the version before did.

    What was kept out of an adapter's first version must not come in with its second.
    """
    return config.redact_pii or current.run.config.redact_pii


def improve_config(config: ImproveConfig | None, settings: Mapping[str, Any]) -> ImproveConfig:
    """The settings of an improvement: fields by name over a configuration over the defaults.

    Raises:
        UsageError: a field is unknown or its value is not allowed; names it as an option.
    """
    known = {} if config is None else config.model_dump()
    try:
        return ImproveConfig(**{**known, **settings})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_pii", "").replace("_", "-")
        raise UsageError(f"--{option}: {first['msg']} (got {first['input']!r})") from error


def _log(
    source: Path | str | Sequence[Interaction], feedback: Path | str | Feedbacks | None
) -> InteractionLog:
    if isinstance(feedback, Path | str):
        feedback = read_feedback(Path(feedback))
    if isinstance(source, Path | str):
        return read_log(Path(source), feedback)
    if not source:
        raise DataError("there is no interaction to learn from")
    return InteractionLog(with_feedback(source, feedback or {}))


def _settings(current: Current, config: ImproveConfig, budget: Budget, folder: Path) -> TrainConfig:
    """The parent's settings, with what the improvement changes."""
    given = {
        "learning_rate": config.learning_rate,
        "epochs": config.epochs,
        "lot": config.lot,
        "steps": config.steps,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return current.run.config.model_copy(
        update={
            **changes,
            "data": folder / IMPROVE / "dataset",
            "name": current.run.config.adapter_name,
            "out": folder,
            "dp": budget.dp,
            "epsilon": budget.epsilon,
            "seed": config.seed,
            "max_test_items": max(config.max_test_items, 20),
            "redact_pii": config.redact_pii,
            "teacher": None,
        }
    )


def _compare(
    current: Current,
    dataset: Dataset,
    new: AnsweringModel,
    old: AnsweringModel,
    config: ImproveConfig,
    folder: Path,
    view: View,
) -> Comparison:
    view.stage("Comparing with the version before")
    old_digests = {example.digest for example in current.old_test}
    comparison = compare_versions(
        new,
        old,
        old_test=current.old_test,
        new_test=[e for e in dataset.test if e.digest not in old_digests],
        learned=[*current.earlier, *dataset.train],
        config=config,
    )
    for name, result in (("old", comparison.old), ("new", comparison.new)):
        if result.difference is not None:
            view.note(
                f"{name} test set: {result.old_score:.3f} -> {result.new_score:.3f} on "
                f"{result.items} items ({result.difference:+.3f}, p = {result.p_value:.2g})"
            )
    for reason in comparison.reasons:
        view.note(f"against it: {reason}")
    write_json(folder / IMPROVE / "comparison.json", comparison.to_json())
    return comparison


def _require_base(engine: Connection, current: Current) -> None:
    from tinker_engine.connect import base_info

    running, wanted = base_info(engine), current.run.base
    if running.digest != wanted.digest:
        raise UsageError(
            f"the adapter belongs to base {wanted.name} ({wanted.digest[:16]}), the engine runs "
            f"{running.name} ({running.digest[:16]}); start an engine with that base"
        )


def _stem(current: Current) -> str:
    name = current.run.folder.resolve().name
    head, _, tail = name.rpartition("-v")
    return head if head and tail.isdigit() else name
