"""Settings of a supervised fine-tuning run; the LoRA defaults are those users were promised."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tinker_engine.errors import PrivacyPolicyError

DEFAULT_TARGETS = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)


class PrivacyConfig(BaseModel):
    """What privacy a run promises. `delta` None means min(1e-5, 1/n^1.1) for n examples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: float = Field(default=8.0, gt=0, description="privacy budget of the whole run")
    delta: float | None = Field(default=None, gt=0, lt=1)
    clip_norm: float = Field(default=0.2, gt=0, description="bound on one example's gradient norm")
    expected_batch_size: int | None = Field(default=None, gt=0, description="mean Poisson lot")
    steps: int | None = Field(default=None, gt=0)
    train: Literal["B", "both"] = Field(
        default="B", description="B freezes the random A: fewer noisy dimensions"
    )

    def delta_for(self, examples: int) -> float:
        """The stated delta, or the default for a data set of `examples` rows."""
        if examples < 1:
            raise PrivacyPolicyError("a private run needs at least one training example")
        return self.delta if self.delta is not None else min(1e-5, 1.0 / math.pow(examples, 1.1))


class SftConfig(BaseModel):
    """Hyper-parameters of one run; every field is recorded in the package it leads to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=30, ge=1, le=1024)
    alpha: float = Field(default=64.0, gt=0)
    dropout: float = Field(default=0.0, ge=0.0, le=0.0, description="only 0.0 is supported")
    target_modules: tuple[str, ...] = DEFAULT_TARGETS
    seed: int = 0
    learning_rate: float | None = Field(
        default=None, gt=0, description="None: chosen for the base's width and for privacy"
    )
    batch_size: int = Field(default=32, ge=1, description="examples per step (not private)")
    epochs: float = Field(default=4.0, gt=0, description="passes over the data (not private)")
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    max_length: int = Field(default=1024, ge=8, description="longer examples are left out")
    grad_clip_norm: float = Field(default=1.0, ge=0, description="on the mean gradient; 0 = off")
    validation_fraction: float = Field(default=0.05, ge=0, lt=0.5)
    evaluations: int = Field(default=8, ge=1, description="validation losses per run")
    patience: int = Field(default=3, ge=1, description="evaluations without gain before stopping")
    checkpoint_steps: int = Field(default=25, ge=1, description="private runs: 64 at most count")
    privacy: PrivacyConfig | None = PrivacyConfig()

    def metadata(self) -> dict[str, str]:
        """The adapter's shape as the engine's `user_metadata`."""
        import json

        return {
            "lora_alpha": repr(self.alpha),
            "target_modules": json.dumps(list(self.target_modules)),
            "lora_train": self.privacy.train if self.privacy else "both",
        }


def default_learning_rate(hidden_size: int, *, private: bool) -> float:
    """Peak learning rate of AdamW for LoRA when the user gave none.

    Not private: 5e-5 * 10 * (2000 / hidden)^p with p = 1 (tinker-cookbook's rule). Private: eight
    times that, because noise dominates AdamW's second moment and so shrinks every update; the
    factor was measured on `nano` (docs/privacy.md).
    """
    rate = 5e-5 * 10.0 * (2000.0 / hidden_size)
    return min(8.0 * rate, 3e-2) if private else min(rate, 1e-2)


def rate_at(step: int, total: int, peak: float, config: SftConfig) -> float:
    """Learning rate of `step` (from 0) of `total`: linear warm-up, then the schedule's decay."""
    warmup = max(1, round(config.warmup_fraction * total))
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "constant":
        return peak
    progress = (step - warmup) / max(1, total - warmup)
    if config.schedule == "linear":
        return peak * max(0.0, 1.0 - progress)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
