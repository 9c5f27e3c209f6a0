"""Settings of `qa_verify`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class QaVerifyConfig(BaseModel):
    """How the held-out split is turned into a score; every field stands in the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.80, ge=0, le=1, description="mean score that passes")
    max_items: int = Field(
        default=600,
        ge=1,
        description="test items asked at most, drawn by the hash of their content",
    )
    train_probe_items: int = Field(
        default=60, ge=0, description="training items asked of the adapter, to see over-fitting"
    )
    max_answer_tokens: int = Field(
        default=192, ge=4, description="longest answer generated; shorter when references are"
    )
    closeness: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="shingle Jaccard of prompts from which a test item counts as seen in training",
    )
    closed_min_repeats: int = Field(
        default=3, ge=2, description="training examples with one answer that make it a label"
    )
    closed_max_words: int = Field(
        default=12, ge=1, description="a label has at most this many words"
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="coverage of the intervals")
    shown_examples: int = Field(default=10, ge=0, description="answers shown per group")
