"""Settings of `tensafe import`: one model whose fields are the command's options."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ImportConfig(BaseModel):
    """Everything that decides how a foreign adapter becomes a package."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Path = Field(description="PEFT folder, weights file or package")
    name: str = Field(min_length=1, description="adapter name")
    eval_data: Path = Field(description="questions with answers for qa_verify, not trained on")
    train_data: Path | None = Field(
        default=None, description="what it was trained on; null: not known here"
    )
    out: Path | None = Field(default=None, description="folder to make; null: runs/NAME")
    domain: str | None = Field(
        default=None, description="field of knowledge; null: told from the evaluation data"
    )
    description: str | None = Field(default=None, description="what it does, in one sentence")
    engine: str | None = Field(default=None, description="embedded, hosted or a URL")
    base_model: str | None = Field(
        default=None, description="nano, a folder or a hub id; null: the one the adapter names"
    )
    alpha: float | None = Field(default=None, gt=0, description="LoRA alpha where nothing says it")
    allow_pickle: bool = Field(default=False, description="load tensors from .bin or .pt files")
    question_columns: tuple[str, ...] = Field(default=(), description="of the evaluation data")
    answer_column: str | None = Field(default=None, description="of the evaluation data")
    compliance: tuple[str, ...] = Field(
        default=(), description="claims of yours, such as HIPAA, signed and not examined"
    )
    license: str | None = Field(default=None, description="of the adapter; null: not stated")
    qa_threshold: float = Field(
        default=0.80, ge=0.80, le=1.0, description="qa_verify score that a package needs"
    )
    max_test_items: int = Field(default=600, ge=20, description="most items that are answered")

    @property
    def adapter_name(self) -> str:
        """The name in lower case, digits and hyphens."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:60] or "adapter"

    @property
    def folder(self) -> Path:
        """Where adapter, data and reports are kept, and the package."""
        return self.out if self.out is not None else Path("runs") / self.adapter_name
