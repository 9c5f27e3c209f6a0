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
from tinker_engine.privacy import ResolvedPolicy
from tinker_engine.runtime.records import PrivacyPolicy, RunSpec
from tinker_engine.runtime.training_run import ClipStatistics, TrainingRun

FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """A run's state as read from disk; the accumulator is None when nothing was accumulated."""

    spec: RunSpec
    base_digest: str
    policy: ResolvedPolicy | None
    values: Tensor
    adam: AdamState
    accumulator: Tensor | None
    gradients: int
    statistics: ClipStatistics
    paid: int


def write_progress(file: Path, run: TrainingRun, base_digest: str) -> None:
    """Write a run's state; raises StorageError when the disk refuses it."""
    tensors = {"values": run.values, "first": run.adam.first, "second": run.adam.second}
    if run.gradients:
        tensors["accumulator"] = run.accumulator
    facts = {
        "format": FORMAT,
        "base_digest": base_digest,
        "spec": asdict(run.spec),
        "policy": asdict(run.mechanism.policy) if run.mechanism is not None else None,
        "step": run.adam.step,
        "gradients": run.gradients,
        "statistics": asdict(run.statistics),
        "paid": run.paid,
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
    )


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(tensor.numpy()).view(np.uint8).data)


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
