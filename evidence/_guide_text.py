"""The integration guide as its code blocks, in order."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
NAME = "aragora-tinker-guide.md"


@dataclass(frozen=True)
class Block:
    """One code block; `language` is "" for drawings."""

    language: str
    heading: str
    code: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block that do something."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def guide_path() -> Path | None:
    """The guide beside the shared data; None where there is none."""
    repository = Path(__file__).resolve().parent.parent
    data = Path(os.environ.get("SHARED_DATA", repository.parent / "shared" / "data"))
    path = data.parent / "guides" / NAME
    return path if path.is_file() else None


def blocks(text: str) -> list[Block]:
    """Every code block with the heading it stands under."""
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        headings = _HEADING.findall(text, 0, match.start())
        found.append(Block(match[1], headings[-1] if headings else "", match[2]))
    return found
