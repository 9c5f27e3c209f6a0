"""One training on a served base model: from records to checkpoints, through the recipes.

These calls block; `TinkerClient` and the job worker run them in threads. Each run keeps its state
in a folder of its own and goes on from there when it is called again with the same records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aragora.errors import TrainingError
from aragora.training.job_records import TrainingSettings
from aragora.training.results import OnProgress, Stage, TrainingProgress
from aragora.training.training_records import Conversation, Preference
from tinker_engine.recipes.chat_format import ChatMessage

if TYPE_CHECKING:
    from aragora.agents.served_model import ServedModel
    from tinker_engine.recipes.training_loop import Progress, SftResult

# Hidden size of bases in the 70B class.
_WIDE = 8192


@dataclass(frozen=True)
class StageResult:
    """What one stage left: `checkpoint` to sample from, `training_checkpoint` to go on from."""

    checkpoint: str
    training_checkpoint: str
    steps: int
    records: int
    left_out_long: int
    history: tuple[TrainingProgress, ...]


def digest_of_records(records: Sequence[Conversation] | Sequence[Preference]) -> str:
    """Hex SHA-256 of what is trained on, in its order."""
    rows: list[Any] = [vars(r) if isinstance(r, Preference) else r for r in records]
    text = json.dumps(rows, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def train_on_conversations(
    served: ServedModel,
    conversations: Sequence[Conversation],
    settings: TrainingSettings,
    folder: Path,
    *,
    start_from: str = "",
    on_progress: OnProgress | None = None,
) -> StageResult:
    """Supervised training on the last turn of each conversation."""
    from tinker_engine.recipes.sft import run_sft
    from tinker_engine.recipes.sft_config import SftConfig

    result = run_sft(
        served.service_client,
        served.chat,
        conversations,
        SftConfig(epochs=settings.epochs, **_shared(served, settings)),
        folder,
        base_model=served.name,
        hidden_size=_hidden_size(served),
        record_set=digest_of_records(conversations),
        start_from=start_from,
        on_progress=_told_to(on_progress, "sft"),
    )
    return _stage("sft", result, folder, len(conversations))


def train_on_preferences(
    served: ServedModel,
    preferences: Sequence[Preference],
    settings: TrainingSettings,
    folder: Path,
    *,
    start_from: str = "",
    on_progress: OnProgress | None = None,
) -> StageResult:
    """Direct preference optimisation against the weights that training starts from.

    Their log-probabilities are computed once, before the first step, and kept in the folder.
    """
    from tinker_engine.recipes.dpo import PreferencePair, run_dpo
    from tinker_engine.recipes.dpo_config import DpoConfig

    pairs = [
        PreferencePair(
            pair.prompt,
            [ChatMessage(role="assistant", content=pair.chosen)],
            [ChatMessage(role="assistant", content=pair.rejected)],
        )
        for pair in preferences
    ]
    config = DpoConfig(epochs=settings.dpo_epochs, beta=settings.beta, **_shared(served, settings))
    result = run_dpo(
        served.service_client,
        served.chat,
        pairs,
        config,
        folder,
        base_model=served.name,
        hidden_size=_hidden_size(served),
        record_set=digest_of_records(preferences),
        start_from=start_from,
        has_dpo_loss="dpo" in served.connection.capabilities().get("losses", ()),
        on_progress=_told_to(on_progress, "dpo"),
    )
    return _stage("dpo", result, folder, len(pairs))


def _shared(served: ServedModel, settings: TrainingSettings) -> dict[str, Any]:
    """What both recipes are told."""
    return {
        "rank": settings.rank,
        "alpha": settings.alpha,
        "seed": settings.seed,
        "checkpoint_steps": settings.checkpoint_steps,
        "learning_rate": settings.learning_rate,
        "batch_size": settings.step_records,
        "max_length": min(settings.max_length, served.max_context or settings.max_length),
        # Without validation the last step's weights are the result, so that a later stage goes on
        # from the very weights that are sampled.
        "validation_fraction": 0.0,
        "privacy": None,
    }


def _told_to(on_progress: OnProgress | None, stage: Stage) -> Callable[[Progress], None]:
    def tell(step: Progress) -> None:
        if on_progress is not None:
            on_progress(_told(step, stage))

    return tell


def _told(step: Progress, stage: Stage) -> TrainingProgress:
    return TrainingProgress(
        stage, step.step, step.total, step.loss, step.tokens_per_s, step.eta_s, step.accuracy
    )


def _stage(stage: Stage, result: SftResult, folder: Path, records: int) -> StageResult:
    from tinker_engine.recipes.sft_state import read_state

    state = read_state(folder)
    if state is None or not state.checkpoint:
        raise TrainingError(f"{folder} lost the state of its run while it was trained")
    return StageResult(
        checkpoint=result.checkpoint,
        training_checkpoint=state.checkpoint,
        steps=result.steps,
        records=records - result.left_out_long,
        left_out_long=result.left_out_long,
        history=tuple(_told(step, stage) for step in result.history),
    )


def _hidden_size(served: ServedModel) -> int:
    """Width of the base, for the default learning rate; other servers' bases are taken as wide."""
    from tinker_engine.connect import base_info

    if not served.connection.capabilities():
        return _WIDE
    return base_info(served.connection).hidden_size
