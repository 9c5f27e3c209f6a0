"""Docs that don't match the program fail the check.

Looks for: `make evidence NAME=x` that doesn't exist, `tensafe`/`tinker-engine` options that the
command doesn't offer, links to missing files, and a docs/cli.md that isn't what the commands say.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import typer

from evidence.__main__ import claims
from tensafe.cli import application
from tools import cli_docs

ROOT = Path(__file__).resolve().parent.parent
CODE = re.compile(r"```(?:bash|sh|console)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def commands() -> dict[str, Any]:
    """Every tensafe command by its words, as in {"keys new": ...}."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        children = getattr(command, "commands", None)
        if children:
            for name, child in children.items():
                walk(child, (*words, name))
        else:
            found[" ".join(words)] = command

    walk(typer.main.get_command(application()), ())
    return found


def problems_in(path: Path, known: dict[str, Any]) -> list[str]:
    """What is untrue in one Markdown file."""
    text = path.read_text(encoding="utf-8")
    where = path.relative_to(ROOT)
    found = [
        f"{where}: no claim named {name}"
        for name in re.findall(r"make evidence NAME=([a-z0-9-]+)", text)
        if name not in claims()
    ]
    found += [
        f"{where}: link to missing {target}"
        for target in LINK.findall(text)
        if not (path.parent / target).exists()
    ]
    for block in CODE.findall(text):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            match = re.match(r"\s*(?:\$ )?tensafe (.*)", line)
            if match:
                found += [f"{where}: {p}" for p in problems_in_call(match.group(1), known)]
    return found


def problems_in_call(call: str, known: dict[str, Any]) -> list[str]:
    """Unknown commands and options of one documented call."""
    words = call.split()
    names = [n for n in known if words[: len(n.split())] == n.split()]
    if not names:
        return [] if words[0].startswith("-") else [f"no command `tensafe {words[0]}`"]
    command = known[max(names, key=len)]
    options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    return [
        f"`tensafe {max(names, key=len)}` has no option {word}"
        for word in (w.split("=")[0] for w in words)
        if word.startswith("--") and word not in options
    ]


def main() -> int:
    """Print every problem; exit 1 if there is one."""
    known = commands()
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [problem for page in pages for problem in problems_in(page, known)]
    if (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") != cli_docs.text():
        found.append("docs/cli.md is not what the commands say: run python -m tools.cli_docs")
    print("\n".join(found) or f"{len(pages)} pages agree with {len(known)} commands")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
