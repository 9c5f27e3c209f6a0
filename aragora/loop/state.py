"""What a loop has done, in one file that is replaced whole: a killed loop goes on behind it.

Every step of a round leaves a record in the round's folder; a step whose record is there is not
done again. `versions` lists all that were trained, used or not, the base first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aragora.errors import UsageError
from aragora.loop.settings import MORE_ROUNDS, LoopSettings
from tensafe.files import write_json

STATE_FILE = "state.json"
VERSION = 1


@dataclass(frozen=True)
class Measured:
    """Answers of one version to held-out tasks; lists are in the order of the tasks.

    `single` is a task's share of right answers at the loop's temperature, `majority` whether the
    most frequent of them is right (ties count by share), `greedy` whether the one at temperature 0
    is. Tokens are those of all sampled answers.
    """

    single: tuple[float, ...]
    majority: tuple[float, ...]
    greedy: tuple[float, ...]
    prompt_tokens: int
    completion_tokens: int

    @property
    def accuracy(self) -> float:
        """Single-answer accuracy."""
        return sum(self.single) / len(self.single)

    @property
    def majority_accuracy(self) -> float:
        """Accuracy of plain majority voting among the samples."""
        return sum(self.majority) / len(self.majority)

    @property
    def greedy_accuracy(self) -> float:
        """Accuracy at temperature 0."""
        return sum(self.greedy) / len(self.greedy)


@dataclass(frozen=True)
class Version:
    """One version. `used` says that it was swapped in; `reason` why, or why not.

    `gates` holds the verdicts of the package's gates and of the load gate, by name.
    """

    number: int
    model_id: str
    checkpoint: str
    check: Measured
    test: Measured
    robustness: float | None
    gauntlet_run: str
    parent: int | None = None
    used: bool = False
    reason: str = ""
    gates: dict[str, str] | None = None
    package: str = ""
    adapter_digest: str = ""
    sft_rows: int = 0
    dpo_rows: int = 0
    debates: int = 0
    reached: int = 0
    debate_tokens: int = 0


@dataclass(frozen=True)
class LoopState:
    """All versions so far, and why the loop ended ("" while it goes on)."""

    settings: LoopSettings
    tasks_digest: str
    base_model: str
    versions: tuple[Version, ...] = ()
    ended: str = ""

    @property
    def current(self) -> Version:
        """The version in use: the last one that was swapped in, at first the base."""
        return next(v for v in reversed(self.versions) if v.used)

    @property
    def rounds_done(self) -> int:
        """Rounds that came to a decision."""
        return max(0, len(self.versions) - 1)

    def save(self, folder: Path) -> None:
        """Replace the state file."""
        body = {
            "version": VERSION,
            "settings": self.settings.model_dump(mode="json"),
            "tasks_digest": self.tasks_digest,
            "base_model": self.base_model,
            "versions": [asdict(v) for v in self.versions],
            "ended": self.ended,
        }
        write_json(folder / STATE_FILE, body)


def read_state(folder: Path) -> LoopState | None:
    """The state of a folder, None where no loop was begun; raises UsageError for anything else."""
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        body: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return LoopState(
            settings=LoopSettings.model_validate(body["settings"]),
            tasks_digest=str(body["tasks_digest"]),
            base_model=str(body["base_model"]),
            versions=tuple(_version(v) for v in body["versions"]),
            ended=str(body["ended"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: not the state of a loop ({error}); give another --out, or remove the folder"
        ) from error


def resumed(state: LoopState, settings: LoopSettings, tasks_digest: str, folder: Path) -> LoopState:
    """The state to go on with; more rounds may be asked for, nothing else may differ.

    Raises UsageError that names what differs.
    """
    if state.tasks_digest != tasks_digest:
        raise UsageError(f"{folder} holds a loop over other tasks; give another --out")
    had, have = state.settings.model_dump(), settings.model_dump()
    # How tasks were dealt out stays as it was begun.
    if settings.parts is None:
        have["parts"] = had["parts"] = state.settings.deal
    for name in had:
        if name not in MORE_ROUNDS and had[name] != have[name]:
            raise UsageError(
                f"{folder} holds a loop with {name}={had[name]!r}, not {have[name]!r}; give the "
                "same settings, or another --out"
            )
    same = LoopSettings.model_validate(have)
    is_longer = same.rounds > state.rounds_done and state.ended == "all rounds done"
    return replace(state, settings=same, ended="" if is_longer else state.ended)


def step(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The record at `path`, made by `work` unless it is there already."""
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return known
    record = work()
    write_json(path, record)
    return record


def measured(record: dict[str, Any]) -> Measured:
    """A measurement from its record."""
    return Measured(
        tuple(record["single"]),
        tuple(record["majority"]),
        tuple(record["greedy"]),
        int(record["prompt_tokens"]),
        int(record["completion_tokens"]),
    )


def _version(record: dict[str, Any]) -> Version:
    fields: dict[str, Any] = {**record}
    fields |= {name: measured(record[name]) for name in ("check", "test")}
    return Version(**fields)
