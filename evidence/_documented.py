"""The calls that README, docs and `--help` show, block by block, as a reader would copy them.

docs/cli.md is written from the commands' own help, so its blocks are the examples of `--help`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```(bash|sh|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of shell lines; `line` is where it begins in its page."""

    page: str
    line: int
    calls: tuple[str, ...]

    @property
    def name(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    """Every block of README and docs, without the results that console blocks show."""
    found: list[Block] = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            calls = tuple(_calls(match[1], match[2]))
            if calls:
                line = text[: match.start()].count("\n") + 2
                found.append(Block(str(page.relative_to(ROOT)), line, calls))
    return found


def _calls(kind: str, body: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", body)
    lines = [line.rstrip() for line in joined.splitlines()]
    if kind == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def programs() -> tuple[str, ...]:
    """The commands that this project installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return tuple(project["scripts"])
