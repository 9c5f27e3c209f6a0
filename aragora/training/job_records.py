"""Training jobs as users see them: state, settings, attempts, log.

A job is pending (waiting for its turn, or for a retry), running (one worker holds its lease),
or over: completed, failed or cancelled. A job that is over never changes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aragora.errors import UsageError

JobKind = Literal["sft", "dpo", "combined", "adversarial"]


class JobStatus(StrEnum):
    """Where a job stands; equal to its lower-case word."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the job any more."""
        return self not in (JobStatus.PENDING, JobStatus.RUNNING)


# What may follow what; a job that loses its worker goes back to pending.
FOLLOWS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset(set(JobStatus) - {JobStatus.RUNNING}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}


class TrainingSettings(BaseModel):
    """Hyper-parameters of a training; None leaves the choice to the recipe or to the domain.

    `batch_size` times `gradient_accumulation_steps` records make one step of the optimiser. They
    are sent in one request: the loss is a sum, so that the gradient is the same, and the engine
    packs and splits what it gets by its own memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora_rank: int | None = Field(default=None, ge=1, le=1024, description="None: 16, or 32")
    lora_alpha: float | None = Field(default=None, gt=0, description="None: twice the rank")
    learning_rate: float | None = Field(default=None, gt=0, description="None: by the base's width")
    batch_size: int = Field(default=4, ge=1)
    gradient_accumulation_steps: int = Field(default=4, ge=1)
    epochs: float = Field(default=3.0, gt=0, description="passes over supervised records")
    dpo_epochs: float = Field(default=1.0, gt=0, description="passes over preferences")
    beta: float = Field(default=0.1, gt=0, description="how closely dpo keeps to the reference")
    max_length: int = Field(default=1024, ge=8, description="longer records are left out")
    checkpoint_steps: int = Field(default=25, ge=1, description="what a crash costs at most")
    seed: int = 0
    domain: str = Field(default="general", description="what the model is for")
    parent_model_id: str = Field(default="", description="model of the registry to go on from")

    @property
    def rank(self) -> int:
        """The rank: 16, and 32 for an expert of a domain, unless it was given."""
        return self.lora_rank or (16 if self.domain == "general" else 32)

    @property
    def alpha(self) -> float:
        """The scale of the adapter: twice the rank unless it was given."""
        return self.lora_alpha or 2.0 * self.rank

    @property
    def step_records(self) -> int:
        """Records per step of the optimiser."""
        return self.batch_size * self.gradient_accumulation_steps


def training_settings(given: Mapping[str, Any]) -> TrainingSettings:
    """Settings from keyword arguments; raises UsageError that names the wrong one."""
    try:
        return TrainingSettings.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(TrainingSettings.model_fields)
        hint = f"; settings: {known}" if first["type"] == "extra_forbidden" else ""
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {first['msg']}{hint}") from error


class ExportSettings(BaseModel):
    """Options of the exporters that a job's data comes from; only those that apply are used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    limit: int | None = Field(default=None, ge=1)


class JobSettings(BaseModel):
    """Everything a job is made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    training: TrainingSettings = TrainingSettings()
    sft: ExportSettings = ExportSettings()
    dpo: ExportSettings = ExportSettings()


@dataclass(frozen=True)
class TrainingJob:
    """A job as it stood when it was read. Times are seconds since the epoch.

    `failures` counts attempts that failed or whose worker was lost; at `max_failures` the job is
    failed. `progress` is the last step told; `error` the last reason something went wrong.
    """

    job_id: str
    kind: JobKind
    model: str
    adapter_name: str
    settings: JobSettings
    status: JobStatus
    priority: int
    created_at: float
    not_before: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    failures: int = 0
    max_failures: int = 5
    cancel_requested: bool = False
    worker: str = ""
    progress: dict[str, Any] = field(default_factory=dict[str, Any])
    error: str = ""
    result: dict[str, Any] | None = None

    @property
    def model_id(self) -> str | None:
        """The trained model's id; None until the job is completed."""
        return None if self.result is None else str(self.result["model_id"])

    def to_json(self) -> dict[str, Any]:
        """All facts as JSON."""
        return {**asdict(self), "settings": self.settings.model_dump(), "model_id": self.model_id}


@dataclass(frozen=True)
class JobAttempt:
    """One worker's try; `reason` says why it ended as it did."""

    job_id: str
    number: int
    worker: str
    began_at: float
    ended_at: float | None
    outcome: str
    reason: str


@dataclass(frozen=True)
class JobEvent:
    """A line of a job's log; a change of state has the `status` that holds from then on."""

    job_id: str
    at: float
    attempt: int
    status: JobStatus | None
    text: str
