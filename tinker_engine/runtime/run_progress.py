"""The whole state of a run in one file, accumulated gradients included, for going on after a crash.

Unlike a checkpoint it is nothing a user sees: it belongs to one run, is replaced by the next one,
and is written fast. It holds the fp32 values as they are, so what is read is what was written, bit
for bit; each tensor has a checksum.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tinker_engine.errors import CheckpointError, StorageError
from tinker_engine.numerics.adamw import AdamState
from tinker_engine.privacy import Ledger, ResolvedPolicy
from tinker_engine.privacy.ledger import LEDGER_FILE
from tinker_engine.runtime.records import PrivacyPolicy, RunSpec
from tinker_engine.runtime.training_run import ClipStatistics, TrainingRun

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """A run's state as read from disk; the accumulator is None when nothing was accumulated.

    `ledger_steps` and `ledger_digest` say what the ledger held when the state was saved; they are
    None in states of releases that did not note it, and without a ledger.
    """

    spec: RunSpec
    base_digest: str
    policy: ResolvedPolicy | None
    values: Tensor
    adam: AdamState
    accumulator: Tensor | None
    gradients: int
    statistics: ClipStatistics
    paid: int
    ledger_steps: int | None = None
    ledger_digest: str | None = None


def write_progress(file: Path, run: TrainingRun, base_digest: str) -> None:
    """Write a run's state; raises StorageError when the disk refuses it."""
    tensors = {"values": run.values, "first": run.adam.first, "second": run.adam.second}
    if run.gradients:
        tensors["accumulator"] = run.accumulator
    mechanism = run.mechanism
    facts = {
        "format": FORMAT,
        "base_digest": base_digest,
        "spec": asdict(run.spec),
        "policy": asdict(mechanism.policy) if mechanism is not None else None,
        "step": run.adam.step,
        "gradients": run.gradients,
        "statistics": asdict(run.statistics),
        "paid": run.paid,
        "ledger_steps": mechanism.steps if mechanism is not None else None,
        "ledger_digest": mechanism.ledger.digest if mechanism is not None else None,
        "checksums": {name: _checksum(tensor) for name, tensor in tensors.items()},
    }
    try:
        save_file(tensors, file, metadata={"progress": json.dumps(facts)})
    except (OSError, SafetensorError) as error:
        file.unlink(missing_ok=True)
        raise StorageError(f"the state of a run could not be written: {error}") from error


def read_progress(file: Path) -> Progress:
    """Read a run's state; raises CheckpointError when it is damaged or of another format."""
    try:
        with safe_open(file, framework="pt") as stored:
            facts: dict[str, Any] = json.loads(stored.metadata()["progress"])
            tensors = {name: stored.get_tensor(name) for name in facts["checksums"]}
        if facts["format"] != FORMAT:
            raise CheckpointError(f"{file}: format {facts['format']}; this engine reads {FORMAT}")
        for name, checksum in facts["checksums"].items():
            if _checksum(tensors[name]) != checksum:
                raise CheckpointError(f"{file}: {name} fails its checksum")
        return _progress(facts, tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is not a whole state of a run: {error}") from error


def _progress(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Progress:
    raw: dict[str, Any] = facts["spec"]
    privacy = raw["privacy"]
    spec: dict[str, Any] = {
        **raw,
        "targets": tuple(raw["targets"]),
        "privacy": None if privacy is None else PrivacyPolicy(**privacy),
    }
    return Progress(
        spec=RunSpec(**spec),
        base_digest=facts["base_digest"],
        policy=None if facts["policy"] is None else ResolvedPolicy(**facts["policy"]),
        values=tensors["values"],
        adam=AdamState(tensors["first"], tensors["second"], int(facts["step"])),
        accumulator=tensors.get("accumulator"),
        gradients=int(facts["gradients"]),
        statistics=ClipStatistics(**facts["statistics"]),
        paid=int(facts["paid"]),
        ledger_steps=facts.get("ledger_steps"),
        ledger_digest=facts.get("ledger_digest"),
    )


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(tensor.numpy()).view(np.uint8).data)


def reopen_ledger(progress: Progress, folder: Path) -> Ledger:
    """The ledger of a private run, which must hold all that its saved state was paid for by.

    Raises:
        CheckpointError: the ledger is missing, was rolled back, or is another run's.
    """
    steps = progress.paid if progress.ledger_steps is None else progress.ledger_steps
    path = folder / LEDGER_FILE
    if steps and not path.is_file():
        raise _lost_ledger(f"{path} is missing", steps)
    ledger = Ledger.open(folder)
    held = len(ledger.events)
    if held < max(steps, progress.paid):
        ledger.close()
        raise _lost_ledger(f"{path} holds {held} events", max(steps, progress.paid))
    if progress.ledger_digest is not None and ledger.digest_at(steps) != progress.ledger_digest:
        ledger.close()
        raise _lost_ledger(f"{path} is not the ledger that the state was saved beside", steps)
    return ledger


def _lost_ledger(found: str, steps: int) -> CheckpointError:
    return CheckpointError(
        f"privacy ledger {found}, and the run's saved state was paid for by {steps}: without them "
        "it would spend more than it counts; restore the ledger from a backup that is as new"
    )


def take_up(run: TrainingRun, progress: Progress) -> None:
    """Put a freshly made run of the same spec into a read state.

    Raises CheckpointError when the state doesn't fit the run.
    """
    if progress.values.shape != run.values.shape or len(progress.adam.first) != len(run.adam.first):
        raise CheckpointError("the stored state of the run does not fit its base model")
    run.values, run.adam, run.paid = progress.values, progress.adam, progress.paid
    run.version += 1
    run.clear_gradients()
    if progress.accumulator is not None:
        run.accumulator = progress.accumulator.to(
            torch.float64 if run.mechanism is not None else torch.float32
        )
        run.gradients = progress.gradients
        run.statistics = progress.statistics
