"""Settings of a loop: frozen, stored with its state; a resumed loop must have the same ones."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MORE_ROUNDS = frozenset({"rounds", "concurrency"})


class LoopSettings(BaseModel):
    """How a loop goes; the fields are the options of `aragora loop`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=3, ge=1, le=100, description="most rounds")
    parts: int | None = Field(
        default=None, ge=1, description="parts that the training tasks are dealt into; None: rounds"
    )
    agents: int = Field(default=4, ge=2, le=64, description="debaters, all of one version")
    protocol: str = Field(default="debate", description="a protocol's name, or a .toml file")
    temperature: float = Field(
        default=1.0, gt=0.0, le=2.0, description="of debaters and of measured single answers"
    )
    max_tokens: int = Field(default=64, ge=1, description="longest answer")
    samples: int = Field(default=4, ge=1, le=64, description="measured answers per held-out task")
    min_confidence: float = Field(
        default=0.8, ge=0.0, le=1.0, description="least confidence of an outcome to be learned"
    )
    pii: Literal["drop", "redact", "keep"] = Field(
        default="drop", description="training rows with personal data or secrets"
    )
    epochs: float = Field(default=3.0, gt=0.0, description="passes over answers that won")
    dpo_epochs: float = Field(default=1.0, ge=0.0, description="passes over pairs; 0: no DPO")
    beta: float = Field(default=0.1, gt=0.0, description="how closely DPO keeps to its start")
    learning_rate: float | None = Field(
        default=None, gt=0.0, description="of both; None: by the base"
    )
    lora_rank: int = Field(default=16, ge=1, le=1024)
    replay: float = Field(default=0.2, ge=0.0, lt=1.0, description="share of earlier rows")
    patience: int = Field(default=2, ge=1, description="rounds without a better version to stop")
    robustness_margin: float = Field(
        default=0.04,
        ge=0.0,
        le=1.0,
        description="by how much robustness may lie below the best one used; 0.04 is one attack",
    )
    gauntlet: bool = Field(default=True, description="attack every version")
    concurrency: int = Field(default=16, ge=1, le=1024, description="debates at a time")
    seed: int = Field(default=0, ge=0)
    model: str | None = Field(default=None, description="base model")

    @property
    def deal(self) -> int:
        """Into how many parts the training tasks are dealt."""
        return self.parts or self.rounds
