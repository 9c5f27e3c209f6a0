"""What a run tells its watchers: one Protocol for terminal, log file and later the console."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Protocol

from tensafe.gate.records import GateRecord
from tinker_engine.recipes.sft import Progress


class View(Protocol):
    """Receives the run's events in order."""

    def stage(self, title: str) -> None:
        """A new part of the run begins."""
        ...

    def note(self, text: str) -> None:
        """One fact worth reading."""
        ...

    def progress(self, progress: Progress) -> None:
        """One training step is done."""
        ...

    def gate(self, record: GateRecord) -> None:
        """One gate has spoken."""
        ...


class LoggedView:
    """Passes events on and appends each as a JSON line to the run's `events.jsonl`."""

    def __init__(self, inner: View, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._inner = inner
        self._path = path

    def stage(self, title: str) -> None:
        """Log and pass on."""
        self._log("stage", title=title)
        self._inner.stage(title)

    def note(self, text: str) -> None:
        """Log and pass on."""
        self._log("note", text=text)
        self._inner.note(text)

    def progress(self, progress: Progress) -> None:
        """Log and pass on; a loss that is not a number becomes null."""
        fields = {k: (None if v != v else v) for k, v in vars(progress).items()}
        self._log("progress", **fields)
        self._inner.progress(progress)

    def gate(self, record: GateRecord) -> None:
        """Log and pass on."""
        self._log("gate", name=record.name, verdict=record.verdict, reason=record.reason)
        self._inner.gate(record)

    def _log(self, kind: str, **fields: object) -> None:
        line = json.dumps({"time": round(time.time(), 3), "event": kind, **fields})
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
