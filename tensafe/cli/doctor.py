"""`tensafe doctor`: is everything here that the commands need, and if not, what to do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.diagnosis import Finding

EPILOG = """
Exit codes: 0 nothing is broken (hints may remain), 1 something is.

Examples:

  tensafe doctor

  tensafe doctor --base-model ./base --json
"""
_MARKS = {"ok": ("✓", "green"), "hint": ("!", "yellow"), "broken": ("✗", "red")}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Check this installation, its keys, disks and engine.")(doctor)


def doctor(
    engine: Annotated[
        str | None, typer.Option(help="embedded, hosted or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Base to load [default: nano, or the server's].")
    ] = None,
    no_engine: Annotated[
        bool, typer.Option("--no-engine", help="Leave out base and engine, which take seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Examine, print, exit 0 or 1."""
    from dataclasses import asdict

    from tensafe.diagnosis import examine

    findings = examine(engine=engine, base_model=base_model, with_engine=not no_engine)
    broken = [finding for finding in findings if finding.status == "broken"]
    if as_json:
        result = {"well": not broken, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(result, indent=2))
    else:
        _print(findings)
    sys.exit(1 if broken else 0)


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    for finding in findings:
        mark, style = _MARKS[finding.status]
        line = Text.assemble((f" {mark}  ", style), f"{finding.name:<13} ", finding.fact)
        console.print(line, soft_wrap=True)
        if finding.advice:
            console.print(Text(f"                  {finding.advice}", "dim"), soft_wrap=True)
    broken = sum(finding.status == "broken" for finding in findings)
    hints = sum(finding.status == "hint" for finding in findings)
    tail = f", {hints} hint{'s' if hints != 1 else ''}" if hints else ""
    if broken:
        console.print(Text(f"{broken} broken{tail}", "bold red"))
    else:
        console.print(Text(f"well{tail}", "bold green"))
