"""Settings of `tensafe train`: one model whose fields are the command's options."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tensafe.curate.teacher import TeacherConfig
from tinker_engine.recipes.sft_config import DEFAULT_TARGETS, PrivacyConfig, SftConfig


class TrainConfig(BaseModel):
    """Everything that decides what adapter a run makes; written into the run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="file or folder to learn from")
    out: Path | None = Field(default=None, description="run folder; null: runs/NAME")
    name: str | None = Field(default=None, description="adapter name; null: from the data path")
    domain: str | None = Field(
        default=None, description="field of knowledge, for the package; null: told from the data"
    )
    engine: str | None = Field(
        default=None, description="embedded, hosted or a URL; null: see TINKER_BASE_URL"
    )
    base_model: str | None = Field(
        default=None, description="nano, a folder or a hub id; null: the engine's default"
    )
    question_columns: tuple[str, ...] = Field(
        default=(), description="column(s) with the question; empty: inferred and shown"
    )
    answer_column: str | None = Field(
        default=None, description="column with the answer; null: inferred and shown"
    )
    prose: bool = Field(default=True, description="also learn passages that hold no question")
    redact_pii: bool = Field(default=False, description="marks in place of personal data, secrets")
    data_license: str | None = Field(
        default=None, description="stated in the dataset card; null: unknown"
    )

    teacher: str | None = Field(
        default=None, description="OpenAI-compatible API that writes pairs from prose; null: none"
    )
    teacher_model: str | None = Field(default=None, description="null: the first it lists")

    rank: int = Field(default=30, ge=1, le=1024, description="LoRA rank")
    alpha: float = Field(default=64.0, gt=0, description="LoRA alpha")
    dropout: float = Field(
        default=0.0, ge=0.0, le=0.0, description="LoRA dropout; only 0.0 is supported"
    )
    target_modules: tuple[str, ...] = Field(
        default=DEFAULT_TARGETS, description="names of the modules that LoRA adapts"
    )
    bias: Literal["none"] = Field(default="none", description="LoRA bias; only none is supported")
    task_type: Literal["CAUSAL_LM"] = Field(
        default="CAUSAL_LM", description="only CAUSAL_LM is supported"
    )
    seed: int = Field(default=0, description="seed of weights and batch order")
    learning_rate: float | None = Field(
        default=None, gt=0, description="peak AdamW rate; null: by the base's width and privacy"
    )
    batch_size: int = Field(default=32, ge=1, description="examples per step without privacy")
    epochs: float = Field(default=4.0, gt=0, description="passes over the data without privacy")
    max_length: int = Field(default=1024, ge=8, description="longest example in tokens")
    checkpoint_steps: int = Field(
        default=25, ge=1, description="steps between checkpoints; a private run makes 64 at most"
    )

    dp: bool = Field(default=True, description="train with differential privacy")
    epsilon: float = Field(default=8.0, gt=0, description="privacy budget of this run")
    delta: float | None = Field(
        default=None, gt=0, lt=1, description="null: min(1e-5, 1/n^1.1) for n examples"
    )
    clip_norm: float = Field(default=0.2, gt=0, description="bound on one example's gradient norm")
    lot: int | None = Field(
        default=None, gt=0, description="mean examples per private step; null: by the data"
    )
    steps: int | None = Field(default=None, gt=0, description="private steps; null: the default")
    lora_train: str = Field(
        default="B", pattern="^(B|both)$", description="under noise: B (A stays random) or both"
    )
    lifetime_epsilon: float = Field(
        default=8.0, gt=0, description="budget of these records over all released packages"
    )

    qa_threshold: float = Field(
        default=0.80, ge=0.80, le=1.0, description="qa_verify score that a package needs"
    )
    max_test_items: int = Field(
        default=2000, ge=20, description="most held-out items that are answered"
    )
    license: str | None = Field(
        default=None, max_length=200, description="the adapter's licence, such as MIT; null: none"
    )
    compliance: tuple[str, ...] = Field(
        default=(), description="claims such as HIPAA, yours and signed; nobody examines them"
    )
    creator: str = Field(default="local", description="name of the signing key")
    creator_email: str = Field(default="", description="written into a key that is made here")

    @field_validator("epsilon", "lifetime_epsilon", "clip_norm", "alpha")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value

    @field_validator("teacher")
    @classmethod
    def _teacher_url(cls, value: str | None) -> str | None:
        return None if value is None else TeacherConfig(url=value).url

    @property
    def adapter_name(self) -> str:
        """The given name, or one made from the data path: lower case, digits and hyphens."""
        # As it was typed: a link has the name that its owner gave it.
        data = Path(os.path.abspath(self.data))
        text = self.name or data.stem
        if text in ("data", "train") and self.name is None:
            text = data.parent.name
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
