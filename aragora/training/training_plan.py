"""A whole training: its stages one after another, and the model it registers at the end.

    outcome = carry_out(TrainingPlan("combined", "aragora", sft, dpo, settings), served, folder)

A plan that is carried out again in the same folder goes on where it was interrupted; with the same
`run_key` and the same records it registers no second model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aragora.errors import TrainingDataError, UsageError
from aragora.training.checkpoints import served_digest
from aragora.training.job_records import TrainingSettings
from aragora.training.model_metadata import ModelMetadata, TrainingType
from aragora.training.model_registry import ModelRegistry
from aragora.training.results import OnProgress, Stage, TrainingResult
from aragora.training.training_records import Conversation, Preference
from aragora.training.training_runs import (
    StageResult,
    digest_of_records,
    train_on_conversations,
    train_on_preferences,
)

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel

DEFAULT_NAMES: dict[TrainingType, str] = {
    "sft": "aragora-sft",
    "dpo": "aragora-dpo",
    "combined": "aragora",
    "adversarial": "aragora-adversarial",
}


@dataclass(frozen=True)
class TrainingPlan:
    """What to train on and how; stages without records are left out."""

    training_type: TrainingType
    adapter_name: str
    conversations: tuple[Conversation, ...] = ()
    preferences: tuple[Preference, ...] = ()
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    run_key: str = ""

    @property
    def training_set(self) -> str:
        """Digest over everything that is trained on."""
        parts = (digest_of_records(self.conversations), digest_of_records(self.preferences))
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def carry_out(
    plan: TrainingPlan,
    served: ServedModel,
    folder: Path,
    registry: ModelRegistry,
    *,
    on_progress: OnProgress | None = None,
    on_stage: Callable[[Stage, int], None] | None = None,
) -> TrainingResult:
    """Train, then register the model; blocks until it is done.

    Args:
        folder: keeps the state of each stage.
        on_progress: told of every step; may raise to stop the training.
        on_stage: told of every stage with its number of records before it begins.

    Raises TrainingDataError when there is nothing to train on, and what the recipes raise.
    """
    if not plan.conversations and not plan.preferences:
        raise TrainingDataError("there is nothing to train on: both parts of the data are empty")
    start_from, settings = _start(plan.settings, registry, served)
    done: list[StageResult] = []
    if plan.conversations:
        if on_stage is not None:
            on_stage("sft", len(plan.conversations))
        stage = train_on_conversations(
            served,
            plan.conversations,
            settings,
            folder / "sft",
            start_from=start_from,
            on_progress=on_progress,
        )
        start_from = stage.training_checkpoint
        done.append(stage)
    if plan.preferences:
        if on_stage is not None:
            on_stage("dpo", len(plan.preferences))
        done.append(
            train_on_preferences(
                served,
                plan.preferences,
                settings,
                folder / "dpo",
                start_from=start_from,
                on_progress=on_progress,
            )
        )
    last = done[-1]
    model = registry.register_version(
        plan.adapter_name or DEFAULT_NAMES[plan.training_type],
        ModelMetadata(
            model_id="",
            base_model=served.name,
            adapter_name=plan.adapter_name or DEFAULT_NAMES[plan.training_type],
            training_type=plan.training_type,
            primary_domain=settings.domain,
            checkpoint=last.checkpoint,
            training_checkpoint=last.training_checkpoint,
            adapter_digest=served_digest(served, last.checkpoint),
            lora_rank=settings.rank,
            lora_alpha=settings.alpha,
            parent_model_id=settings.parent_model_id,
            training_set=plan.training_set,
            training_run=plan.run_key,
        ),
    )
    return TrainingResult(
        model_id=model.model_id,
        adapter_name=model.adapter_name,
        base_model=model.base_model,
        training_type=plan.training_type,
        checkpoint=model.checkpoint,
        training_checkpoint=model.training_checkpoint,
        steps=sum(stage.steps for stage in done),
        records=sum(stage.records for stage in done),
        left_out_long=sum(stage.left_out_long for stage in done),
        lora_rank=settings.rank,
        training_set=plan.training_set,
        history=tuple(step for stage in done for step in stage.history),
    )


def _start(
    settings: TrainingSettings, registry: ModelRegistry, served: ServedModel
) -> tuple[str, TrainingSettings]:
    """The checkpoint to go on from ("" for the bare base), and settings of its adapter's shape.

    Raises UsageError for a parent on another base, of another rank, or without a checkpoint.
    """
    if not settings.parent_model_id:
        return "", settings
    parent = registry.get(settings.parent_model_id)
    if parent.base_model != served.name:
        raise UsageError(
            f"{parent.model_id!r} was trained on {parent.base_model}, not on {served.name}; give "
            f"model={parent.base_model!r}"
        )
    if not parent.training_checkpoint:
        raise UsageError(
            f"{parent.model_id!r} has no training checkpoint to go on from; train from the base"
        )
    rank = parent.lora_rank or settings.rank
    if settings.lora_rank not in (None, rank):
        raise UsageError(
            f"{parent.model_id!r} has rank {rank}, and what goes on from it keeps it; leave "
            "lora_rank out, or train from the base"
        )
    shape = {"lora_rank": rank, "lora_alpha": parent.lora_alpha or settings.lora_alpha}
    return parent.training_checkpoint, settings.model_copy(update=shape)
