"""`tensafe validate`: the suite that a marketplace runs, as a scorecard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.validation import Scorecard

EPILOG = """
Exit codes: 0 nothing failed, 3 something did (with --strict, a warning too), 4 it is not intact.

The base that the package names is loaded where it can be found; else that line is not run.

Examples:

  tensafe validate support.tgsp

  tensafe validate support.tgsp --base-model ./base --json
"""
NOT_READY, NOT_INTACT = 3, 4
_MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "warning": ("!", "yellow"),
    "not_run": ("–", "yellow"),
}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Run a marketplace's suite over a package: its scorecard.")(
        validate
    )


def validate(
    file: Annotated[Path, typer.Argument(help="The .tgsp package.", exists=True, dir_okay=False)],
    engine: Annotated[
        str | None, typer.Option(help="embedded or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Its base: nano, a folder or hub id [the one it names].")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 3 for a warning, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Validate, print the scorecard, exit 0, 3 or 4."""
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.trust import load_trust
    from tensafe.validation import validate_with_engine

    card = validate_with_engine(
        file, load_trust(trust_path()), engine=engine, base_model=base_model
    )
    if as_json:
        print(json.dumps(card.to_json(), indent=2))
    else:
        _print(card)
    if not card.is_intact:
        sys.exit(NOT_INTACT)
    sys.exit(0 if card.is_ready and not (strict and card.warnings) else NOT_READY)


def _print(card: Scorecard) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(Text(card.file, "bold"))
    for item in card.items:
        mark, style = _MARKS[item.status]
        line = Text.assemble((f" {mark}  ", style), f"{item.name:<11} ", item.reason)
        console.print(line, soft_wrap=True)
        if item.advice and item.status != "passed":
            console.print(Text(f"                {item.advice}", "dim"), soft_wrap=True)
    passed = sum(item.status == "passed" for item in card.items)
    figures = f"{passed} of {len(card.items)} passed, {len(card.warnings)} to be aware of"
    if card.is_ready:
        console.print(Text(f"ready: {figures}", "bold green"))
    else:
        console.print(Text(f"NOT READY: {figures}, {len(card.failed)} failed", "bold red"))
    console.print(Text(f"digest {card.package_digest}"), soft_wrap=True)
