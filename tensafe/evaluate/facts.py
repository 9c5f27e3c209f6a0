"""What the caller knows about the run under evaluation; advice is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunFacts:
    """Facts of the training run; None where unknown. `epsilon` None means no privacy."""

    base_name: str | None = None
    rank: int | None = None
    epsilon: float | None = None
    train_examples: int | None = None
    epochs: float | None = None
