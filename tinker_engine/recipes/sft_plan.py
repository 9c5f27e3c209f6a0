"""The numbers of a run that follow from its settings and its data, fixed before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from tinker_engine.recipes.sft_config import SftConfig, default_learning_rate

# Lots and steps of a private run when the user gave none, measured on `nano` (docs/privacy.md):
# at equal cost 45 lots of 1,100 did better than 30 of 1,600, and lots below a few hundred drown.
PRIVATE_STEPS = 45
PRIVATE_LOT_FRACTION = 0.25
PRIVATE_LOTS = (256, 1100)
MAXIMUM_VALIDATION = 200


@dataclass(frozen=True)
class SftPlan:
    """Sizes and rates of one run. `lot` and `sampling_rate` are 0 when the run is not private."""

    train: int
    validation: tuple[int, ...]
    steps: int
    evaluate_every: int
    learning_rate: float
    lot: int
    sampling_rate: float
    delta: float
    trained_tokens: int
    total_tokens: int

    def to_json(self) -> dict[str, object]:
        """All numbers, with the validation rows as a count."""
        return {**asdict(self), "validation": len(self.validation)}


class Trainable(Protocol):
    """An example as far as a plan is concerned."""

    @property
    def tokens(self) -> Sequence[int]:
        """All of its token ids."""
        ...

    @property
    def trained_tokens(self) -> int:
        """How many of them carry loss."""
        ...


def plan_run(config: SftConfig, rendered: Sequence[Trainable], *, hidden_size: int) -> SftPlan:
    """Choose steps, lot, rate and the validation rows for these examples."""
    count = len(rendered)
    tokens = sum(r.trained_tokens for r in rendered), sum(len(r.tokens) for r in rendered)
    rate = config.learning_rate or default_learning_rate(
        hidden_size, private=config.privacy is not None
    )
    if config.privacy is not None:
        low, high = PRIVATE_LOTS
        lot = config.privacy.expected_batch_size or min(
            high, max(low, round(PRIVATE_LOT_FRACTION * count))
        )
        lot = min(lot, count)
        steps = config.privacy.steps or PRIVATE_STEPS
        return SftPlan(
            train=count,
            validation=(),
            steps=steps,
            evaluate_every=steps,
            learning_rate=rate,
            lot=lot,
            sampling_rate=lot / count,
            delta=config.privacy.delta_for(count),
            trained_tokens=tokens[0],
            total_tokens=tokens[1],
        )
    held = min(int(config.validation_fraction * count), MAXIMUM_VALIDATION)
    order = np.random.default_rng((config.seed, 7)).permutation(count)
    train = count - held
    steps = max(1, round(config.epochs * -(-train // config.batch_size)))
    return SftPlan(
        train=train,
        validation=tuple(int(i) for i in sorted(order[:held])),
        steps=steps,
        evaluate_every=max(1, -(-steps // config.evaluations)),
        learning_rate=rate,
        lot=0,
        sampling_rate=0.0,
        delta=0.0,
        trained_tokens=tokens[0],
        total_tokens=tokens[1],
    )
