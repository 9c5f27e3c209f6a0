"""A trained adapter between training and packaging."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tensafe.data.records import Dataset
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.run_folder import TrainingFacts
from tinker_engine.runtime.records import BaseInfo, PrivacyRecord


@dataclass(frozen=True)
class Checkpoint:
    """What `train_sft` made: a run folder with the adapter in PEFT's layout under `adapter/`.

    `privacy` is the engine's ledger over the run, None for one without privacy.
    """

    folder: Path
    config: TrainConfig
    dataset: Dataset
    base: BaseInfo
    training: TrainingFacts
    privacy: PrivacyRecord | None

    @property
    def adapter_dir(self) -> Path:
        """The PEFT folder."""
        return self.folder / "adapter"
