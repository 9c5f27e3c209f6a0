"""The small file that lets a killed run go on exactly where its last checkpoint stood."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tinker_engine.errors import CheckpointError
from tinker_engine.recipes.batches import PoissonBatches
from tinker_engine.recipes.sft_config import SftConfig
from tinker_engine.recipes.sft_plan import SftPlan

STATE_FILE = "sft_state.json"


@dataclass(frozen=True)
class SftState:
    """Where a run stands. `sampling_key` is secret: it says who was drawn into which lot."""

    fingerprint: str
    run_id: str
    step: int
    checkpoint: str
    sampling_key: int
    best_loss: float | None = None
    best_checkpoint: str = ""
    worse_evaluations: int = 0
    finished: str = ""

    @staticmethod
    def new(
        config: SftConfig, plan: SftPlan, record_set: str, run_id: str, start_from: str = ""
    ) -> SftState:
        """State before the first step."""
        return SftState(
            fingerprint=_fingerprint(config, plan, record_set, start_from),
            run_id=run_id,
            step=0,
            checkpoint="",
            sampling_key=PoissonBatches.new_key(),
        )

    def check(
        self, config: SftConfig, plan: SftPlan, record_set: str, start_from: str = ""
    ) -> None:
        """Refuse to resume with other settings or other data.

        Raises:
            CheckpointError: the fingerprint differs from the one the run began with.
        """
        if self.fingerprint != _fingerprint(config, plan, record_set, start_from):
            raise CheckpointError(
                "this folder holds a run with other settings or other data; resume it with the "
                "settings it began with, or name a new output folder"
            )

    def evaluated(self, loss: float, checkpoint: str) -> SftState:
        """State after a validation loss (mean per learned token)."""
        if self.best_loss is None or loss < self.best_loss:
            return replace(self, best_loss=loss, best_checkpoint=checkpoint, worse_evaluations=0)
        return replace(self, worse_evaluations=self.worse_evaluations + 1)


def _fingerprint(config: SftConfig, plan: SftPlan, record_set: str, start_from: str) -> str:
    parts = [config.model_dump(mode="json"), plan.to_json(), record_set]
    # A run that starts anew has the fingerprint that it had before runs could start elsewhere.
    text = json.dumps([*parts, start_from] if start_from else parts, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_state(folder: Path) -> SftState | None:
    """The folder's state, or None when no run was begun in it.

    Raises:
        CheckpointError: the file exists but can't be parsed.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        return SftState(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a run state ({error}); name a new output folder"
        ) from error


def write_state(folder: Path, state: SftState) -> None:
    """Replace the state file atomically, readable by its owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STATE_FILE
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump(asdict(state), handle)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
