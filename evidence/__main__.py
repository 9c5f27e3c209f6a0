"""List the claims, or run one: `python -m evidence [NAME]`."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def claims() -> dict[str, str]:
    """Name of every claim with the first line of its script's docstring."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem.replace("_", "-")] = doc.split("\n", 1)[0]
    return found


def main(arguments: list[str]) -> int:
    """Print the list without arguments; else run the named script as a program."""
    known = claims()
    if not arguments:
        for name, line in known.items():
            print(f"{name:<14} {line}")
        return 0
    name = arguments[0]
    if name not in known:
        print(f"no claim named {name!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    sys.argv = [name, *arguments[1:]]
    runpy.run_module(f"evidence.{name.replace('-', '_')}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
