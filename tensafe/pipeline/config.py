"""Settings of `tensafe train`: one model whose fields are the command's options."""

from __future__ import annotations

import math
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tinker_engine.recipes.sft_config import DEFAULT_TARGETS, PrivacyConfig, SftConfig


class TrainConfig(BaseModel):
    """Everything that decides what adapter a run makes; written into the run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="file or folder to learn from")
    out: Path | None = Field(default=None, description="run folder; default runs/NAME")
    name: str | None = Field(default=None, description="adapter name; default from the data path")
    domain: str | None = Field(
        default=None, description="field of knowledge, for the package; default from the data"
    )
    engine: str | None = Field(default=None, description="embedded, hosted or a URL")
    base_model: str | None = Field(default=None, description="nano, a folder or a hub id")
    question_columns: tuple[str, ...] = ()
    answer_column: str | None = None
    prose: bool = Field(default=True, description="also learn passages that hold no question")
    redact_pii: bool = Field(default=False, description="marks in place of personal data, secrets")
    data_license: str | None = Field(default=None, description="stated in the dataset card")

    rank: int = Field(default=30, ge=1, le=1024)
    alpha: float = Field(default=64.0, gt=0)
    dropout: float = Field(default=0.0, ge=0.0, le=0.0)
    target_modules: tuple[str, ...] = DEFAULT_TARGETS
    seed: int = 0
    learning_rate: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=32, ge=1)
    epochs: float = Field(default=4.0, gt=0)
    max_length: int = Field(default=1024, ge=8)
    checkpoint_steps: int = Field(default=25, ge=1)

    dp: bool = Field(default=True, description="train with differential privacy")
    epsilon: float = Field(default=8.0, gt=0)
    delta: float | None = Field(default=None, gt=0, lt=1)
    clip_norm: float = Field(default=0.2, gt=0)
    lot: int | None = Field(default=None, gt=0, description="mean number of examples per step")
    steps: int | None = Field(default=None, gt=0)
    lora_train: str = Field(
        default="B", pattern="^(B|both)$", description="what trains under noise"
    )
    lifetime_epsilon: float = Field(default=8.0, gt=0, description="over all released packages")

    qa_threshold: float = Field(default=0.80, ge=0.80, le=1.0)
    max_test_items: int = Field(default=2000, ge=20)
    creator: str = Field(default="local", description="name of the signing key")
    creator_email: str = Field(default="", description="stated by the creator, when a key is made")

    @field_validator("epsilon", "lifetime_epsilon", "clip_norm", "alpha")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @property
    def adapter_name(self) -> str:
        """The given name, or one made from the data path: lower case, digits and hyphens."""
        text = self.name or self.data.resolve().stem
        if text in ("data", "train") and self.name is None:
            text = self.data.resolve().parent.name
        return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "adapter"

    @property
    def run_folder(self) -> Path:
        """Where everything of the run is kept."""
        return self.out if self.out is not None else Path("runs") / self.adapter_name

    def sft(self) -> SftConfig:
        """The training recipe's share of these settings."""
        privacy = (
            PrivacyConfig(
                epsilon=self.epsilon,
                delta=self.delta,
                clip_norm=self.clip_norm,
                expected_batch_size=self.lot,
                steps=self.steps,
                train="both" if self.lora_train == "both" else "B",
            )
            if self.dp
            else None
        )
        return SftConfig(
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            target_modules=self.target_modules,
            seed=self.seed,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            max_length=self.max_length,
            checkpoint_steps=self.checkpoint_steps,
            privacy=privacy,
        )
