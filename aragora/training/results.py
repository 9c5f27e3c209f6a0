"""What a training tells while it runs, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aragora.training.model_registry import TrainingType

Stage = Literal["sft", "dpo"]


@dataclass(frozen=True)
class TrainingProgress:
    """One finished step. `loss` is the mean per learned token (sft) or per pair (dpo), in nats.

    `accuracy` is the share of a step's pairs whose chosen answer is preferred (dpo only).
    """

    stage: Stage
    step: int
    total: int
    loss: float
    tokens_per_s: float
    eta_s: float
    accuracy: float | None = None


OnProgress = Callable[[TrainingProgress], None]


@dataclass(frozen=True)
class TrainingResult:
    """A trained and registered model.

    `checkpoint` is the `tinker://` path of weights to sample from, `training_checkpoint` the one to
    go on training from. `records` were used, `left_out_long` were too long for the model.
    """

    model_id: str
    adapter_name: str
    base_model: str
    training_type: TrainingType
    checkpoint: str
    training_checkpoint: str
    steps: int
    records: int
    left_out_long: int
    lora_rank: int
    training_set: str
    history: tuple[TrainingProgress, ...]

    @property
    def loss(self) -> float | None:
        """The last step's loss; None when the run had ended before and nothing was computed."""
        return self.history[-1].loss if self.history else None

    def to_json(self) -> dict[str, Any]:
        """All facts, with the last loss in place of the history."""
        return {**{k: v for k, v in asdict(self).items() if k != "history"}, "loss": self.loss}
