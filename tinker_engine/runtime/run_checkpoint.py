"""Training checkpoints: a folder that holds everything a run needs to go on exactly.

    adapter_config.json, adapter_model.safetensors   the adapter, in PEFT layout
    optimizer.safetensors                            both AdamW moments
    ledger.jsonl                                     privacy events (private runs)
    run.json                                         spec, step, noise, digests of the above

run.json is written last, and the whole folder appears under its name in one rename. Gradients that
were accumulated but not applied are not part of a checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from tinker_engine.errors import CheckpointError
from tinker_engine.models.adapter_files import (
    WEIGHTS_FILE,
    AdapterConfig,
    AdapterFiles,
    read_adapter,
    sync_folder,
    write_adapter,
    write_atomically,
)
from tinker_engine.models.digests import file_sha256
from tinker_engine.numerics.adamw import AdamState
from tinker_engine.privacy import LedgerEvent, ResolvedPolicy
from tinker_engine.runtime.records import PrivacyPolicy, RunSpec
from tinker_engine.runtime.training_run import TrainingRun, factors

RUN_FILE = "run.json"
OPTIMIZER_FILE = "optimizer.safetensors"
EVENTS_FILE = "ledger.jsonl"
FORMAT = 1


@dataclass(frozen=True)
class SavedRun:
    """A checkpoint as read from disk. `ledger_path` is where the source run kept its ledger."""

    spec: RunSpec
    base_digest: str
    adapter: AdapterFiles
    adam: AdamState
    policy: ResolvedPolicy | None
    events: tuple[LedgerEvent, ...]
    ledger_path: Path | None


def write_checkpoint(
    folder: Path, run: TrainingRun, base_digest: str, config: AdapterConfig
) -> None:
    """Write a checkpoint; an existing one of that name is replaced as a whole."""
    replace_folder(folder, lambda temporary: _write_files(temporary, run, base_digest, config))


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary folder, then give it its name in one rename."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    write(temporary)
    sync_folder(temporary)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        temporary.rename(folder)
    sync_folder(folder.parent)


def _write_files(folder: Path, run: TrainingRun, base_digest: str, config: AdapterConfig) -> None:
    digests = {WEIGHTS_FILE: write_adapter(folder, config, factors(run.layout, run.values))}
    moments = {"first": run.adam.first, "second": run.adam.second}
    write_atomically(folder / OPTIMIZER_FILE, save(moments, metadata={"format": "pt"}))
    digests[OPTIMIZER_FILE] = file_sha256(folder / OPTIMIZER_FILE)
    mechanism = run.mechanism
    if mechanism is not None:
        lines = "".join(event.to_json() + "\n" for event in mechanism.ledger.events)
        write_atomically(folder / EVENTS_FILE, lines.encode())
        digests[EVENTS_FILE] = file_sha256(folder / EVENTS_FILE)
    content = {
        "format": FORMAT,
        "base_digest": base_digest,
        "spec": asdict(run.spec),
        "step": run.adam.step,
        "policy": asdict(mechanism.policy) if mechanism is not None else None,
        "ledger_path": str(mechanism.ledger.path) if mechanism is not None else None,
        "sha256": digests,
    }
    write_atomically(folder / RUN_FILE, json.dumps(content, indent=2, sort_keys=True).encode())


def read_checkpoint(folder: Path) -> SavedRun:
    """Load and check a checkpoint.

    Raises CheckpointError when a file is missing, fails its digest or can't be understood.
    """
    try:
        raw = cast("dict[str, Any]", json.loads((folder / RUN_FILE).read_text(encoding="utf-8")))
        if raw["format"] != FORMAT:
            raise CheckpointError(
                f"{folder}: checkpoint format {raw['format']}; this engine reads {FORMAT}"
            )
        for name, digest in cast("dict[str, str]", raw["sha256"]).items():
            if file_sha256(folder / name) != digest:
                raise CheckpointError(
                    f"{folder / name}: contents don't match the checkpoint's digest"
                )
        spec, policy = _parse_spec(raw["spec"]), _parse_policy(raw["policy"])
        if policy is not None and EVENTS_FILE not in raw["sha256"]:
            raise CheckpointError(f"{folder}: a private run's checkpoint without its ledger")
        moments = load_file(folder / OPTIMIZER_FILE)
        adam = AdamState(moments["first"], moments["second"], int(raw["step"]))
        ledger_path = Path(raw["ledger_path"]) if raw["ledger_path"] else None
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is not a whole training checkpoint: {error}") from error
    events = _read_events(folder / EVENTS_FILE) if policy is not None else ()
    return SavedRun(
        spec, raw["base_digest"], read_adapter(folder), adam, policy, events, ledger_path
    )


def _parse_spec(raw: dict[str, Any]) -> RunSpec:
    privacy = raw["privacy"]
    fields: dict[str, Any] = {
        **raw,
        "targets": tuple(raw["targets"]),
        "privacy": PrivacyPolicy(**privacy) if privacy is not None else None,
    }
    return RunSpec(**fields)


def _parse_policy(raw: dict[str, Any] | None) -> ResolvedPolicy | None:
    return None if raw is None else ResolvedPolicy(**raw)


def _read_events(path: Path) -> tuple[LedgerEvent, ...]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(LedgerEvent.from_json(line) for line in lines)
