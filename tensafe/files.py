"""Report files of a run: JSON and text that are either the old ones or the new ones, never half."""

from __future__ import annotations

import json
from pathlib import Path

from tensafe.tgsp.files import atomic_path


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write UTF-8 text atomically, making the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, mode=mode) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def write_json(path: Path, value: object, *, mode: int = 0o644) -> None:
    """Write indented JSON with sorted keys atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", mode=mode)
