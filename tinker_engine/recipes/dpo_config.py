"""Settings of a preference run."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tinker_engine.recipes.sft_config import PrivacyConfig, SftConfig, default_learning_rate


class DpoConfig(SftConfig):
    """Hyper-parameters of Direct Preference Optimisation; the adapter's are those of `SftConfig`.

    `batch_size` counts pairs. Private runs are refused: the loss couples the two answers of a pair,
    and the engine clips single answers.
    """

    beta: float = Field(default=0.1, gt=0, description="strength of the pull to the reference")
    batch_size: int = Field(default=16, ge=1, description="pairs per step")
    epochs: float = Field(default=1.0, gt=0, description="passes over the pairs")
    privacy: PrivacyConfig | None = None

    @model_validator(mode="after")
    def _not_private(self) -> Self:
        if self.privacy is not None:
            raise ValueError(
                "a preference run can't be private: its loss couples two answers; leave privacy "
                "out, or train on the chosen answers with run_sft"
            )
        return self


def default_preference_rate(hidden_size: int) -> float:
    """Peak learning rate when the user gave none: a tenth of supervised fine-tuning's.

    A convention, not a measured optimum; TRL's defaults are a factor of 20 apart.
    """
    return 0.1 * default_learning_rate(hidden_size, private=False)
