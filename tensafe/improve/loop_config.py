"""Settings of the continuous loop: what is recorded, when it trains, and where it stops."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tensafe.improve.config import ImproveConfig

Consent = Literal["off", "header", "all"]


class RecordingConfig(BaseModel):
    """Which live exchanges are stored; with the defaults, none is.

    `off` stores nothing; `header` stores what the client marked with `x-consent-to-learning: yes`;
    `all` is for an operator who has the users' consent by other means.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    consent: Consent = Field(default="off", description="off, header or all")
    sample_rate: float = Field(default=1.0, ge=0, le=1, description="share of those stored")
    max_stored: int = Field(default=100_000, ge=1, description="exchanges after which none is")


class LoopConfig(BaseModel):
    """When a cycle begins and when the loop ends; every limit holds over restarts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slot: str | None = Field(
        default=None, description="live slot to swap; null: versions are made, none is swapped"
    )
    min_examples: int = Field(
        default=100, ge=1, description="weak interactions that a cycle begins with"
    )
    poll_s: float = Field(default=15.0, gt=0, le=3600, description="seconds between looks")

    max_versions: int = Field(default=5, ge=1, description="versions that go live")
    max_cycles: int = Field(default=20, ge=1, description="trainings, refused ones included")
    max_hours: float = Field(default=24.0, gt=0, description="hours since the loop first began")
    max_train_minutes: float = Field(default=240.0, gt=0, description="minutes spent in trainings")
    max_epsilon: float = Field(
        default=8.0, gt=0, description="privacy spent by all private versions together"
    )
    patience: int = Field(default=2, ge=1, description="cycles in a row without a version live")

    improve: ImproveConfig = ImproveConfig()

    @field_validator("improve")
    @classmethod
    def _without_folder(cls, value: ImproveConfig) -> ImproveConfig:
        if value.out is not None:
            raise ValueError("the loop names the run folders itself; leave out empty")
        return value
