"""What is known of one trained model, and its form in a registry document.

Fields of a later version are kept by whoever stores the documents; unknown ones are skipped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, cast, get_args

ModelStatus = Literal["active", "promoted", "deprecated", "archived"]
TrainingType = Literal["sft", "dpo", "adversarial", "combined"]
STATUSES: tuple[str, ...] = get_args(ModelStatus)
Documents = dict[str, dict[str, Any]]


def now() -> str:
    """The present moment as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class ModelMetadata:
    """One model. Ratings are Elo points, rates and scores lie in [0, 1].

    `evaluation` names the evaluation behind the figures (a digest or a path); `parent_model_id` is
    the version that this one continues; `checkpoint` a `tinker://` path or a folder to sample from,
    `training_checkpoint` a `tinker://` path to go on training from; `training_set` the digest of
    what it was trained on; `training_run` the job or call that made it, which makes no second one.
    """

    model_id: str
    base_model: str
    adapter_name: str = ""
    training_type: TrainingType = "sft"
    primary_domain: str = "general"
    domains: tuple[str, ...] = ()
    checkpoint: str = ""
    training_checkpoint: str = ""
    adapter_digest: str = ""
    lora_rank: int | None = None
    lora_alpha: float | None = None
    parent_model_id: str = ""
    training_set: str = ""
    training_run: str = ""
    elo_rating: float | None = None
    win_rate: float | None = None
    calibration_score: float | None = None
    evaluation: str = ""
    evaluated_at: str = ""
    status: ModelStatus = "active"
    notes: str = ""
    created_at: str = field(default_factory=now)
    updated_at: str = ""

    @property
    def is_evaluated(self) -> bool:
        """Whether a figure was measured on it."""
        return any(v is not None for v in (self.elo_rating, self.win_rate, self.calibration_score))

    @property
    def is_trained_here(self) -> bool:
        """Whether a training registered it, and its weights are the engine's own."""
        return bool(self.training_set) and self.checkpoint.startswith("tinker://")

    @property
    def is_usable(self) -> bool:
        """Neither deprecated nor archived."""
        return self.status in ("active", "promoted")


_KNOWN = {one.name for one in fields(ModelMetadata)}


def from_document(row: Mapping[str, Any]) -> ModelMetadata:
    """The model that a document describes; raises TypeError or ValueError for anything else."""
    given: dict[str, Any] = {key: row[key] for key in _KNOWN if key in row}
    domains: Any = row.get("domains", ())
    if not isinstance(domains, list | tuple):
        raise TypeError("domains is not a list")
    given["domains"] = tuple(cast("list[str]", domains))
    return ModelMetadata(**given)
