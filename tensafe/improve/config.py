"""Settings of one improvement; every field is kept beside the version that it leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ReplayMode = Literal["auto", "records", "answers", "none"]


class ImproveConfig(BaseModel):
    """How logs become the next version.

    What is None here is taken from the version before: its privacy, its budget, its rates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path | None = Field(default=None, description="run folder; null: beside the parent's")
    engine: str | None = Field(default=None, description="embedded, hosted or a URL")
    redact_pii: bool = Field(
        default=False, description="marks in place of personal data, secrets; true if it was before"
    )

    answers: Path | None = Field(
        default=None,
        description="YAML of allowed answers, each with words by which users mean it",
    )
    teacher: str | None = Field(
        default=None, description="a stronger model: an OpenAI-compatible URL, or a tinker:// path"
    )
    teacher_model: str | None = Field(default=None, description="null: the first it lists")
    votes: int = Field(default=7, ge=3, le=64, description="samples of a majority vote")
    agreement: float = Field(
        default=0.7, gt=0.5, le=1, description="share of the votes that makes an answer"
    )
    low_confidence: float = Field(
        default=0.6, ge=0, le=1, description="mean token probability below which an answer is weak"
    )

    replay: ReplayMode = Field(
        default="auto", description="earlier records, the current adapter's answers, or none"
    )
    replay_share: float = Field(
        default=0.2, ge=0, lt=1, description="share of the training mix that is replayed"
    )
    test_share: float = Field(default=0.2, gt=0, lt=1, description="share of new records held out")

    dp: bool | None = Field(default=None, description="null: as the version before")
    epsilon: float | None = Field(default=None, gt=0, description="null: the parent's, or less")
    learning_rate: float | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    lot: int | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    seed: int = 0
    max_test_items: int = Field(default=600, ge=20, description="most items asked of a test set")

    min_gain: float = Field(
        default=0.02, ge=0, le=1, description="rise on the new test set that a version needs"
    )
    max_p_value: float = Field(default=0.05, gt=0, lt=1, description="of that rise, paired")
    max_forgetting: float = Field(
        default=0.01, ge=0, le=1, description="fall on the old test set that is allowed"
    )
