"""Why the loop did what it did: one sentence for people and one JSON line for machines each time.

`decisions.log` and `decisions.jsonl` say the same; both only grow. No text of the traffic is in
them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

LOG_FILE, JSON_FILE = "decisions.log", "decisions.jsonl"


class Decisions:
    """The two files of one loop; `tell` also hears every sentence."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._tell = tell

    def explain(self, kind: str, sentence: str, **figures: object) -> None:
        """Write down one decision with the figures that it rests on."""
        now = datetime.now(UTC)
        record = {"at": now.isoformat(timespec="seconds"), "decision": kind, "why": sentence}
        self._append(JSON_FILE, json.dumps({**record, **figures}))
        self._append(LOG_FILE, f"{now:%Y-%m-%d %H:%M:%S}Z  {kind:<9} {sentence}")
        self._tell(f"{kind}: {sentence}")

    def _append(self, name: str, line: str) -> None:
        descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode("utf-8") + b"\n")
        finally:
            os.close(descriptor)


def read_decisions(folder: Path) -> list[dict[str, object]]:
    """All decisions, oldest first; a line that a kill cut short is passed over."""
    path = folder / JSON_FILE
    found: list[dict[str, object]] = []
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
