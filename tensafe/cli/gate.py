"""`tensafe gate`: may this package be loaded into the base model that is running?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.gate.load_records import LoadReport

EPILOG = """
Exit codes: 0 accepted, 3 rejected.

All seven steps are always run, and the report is kept under the tensafe home (TENSAFE_HOME).

Examples:

  tensafe gate support.tgsp

  tensafe gate support.tgsp --base-model ./base --json
"""
GATE_SAID_NO = 3


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Judge whether a package may be loaded: the load gate.")(gate)


def gate(
    file: Annotated[Path, typer.Argument(help="The .tgsp package.", exists=True, dir_okay=False)],
    engine: Annotated[
        str | None, typer.Option(help="embedded or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Base that would carry it [default: nano, or the server's].")
    ] = None,
    max_rank: Annotated[int, typer.Option(min=1, max=1024, help="Largest rank let in.")] = 256,
    allow_experts: Annotated[
        bool, typer.Option("--allow-experts", help="Let mixture-of-experts bases in.")
    ] = False,
    needs_training_data: Annotated[
        bool,
        typer.Option("--needs-training-data", help="Refuse what was screened without its data."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")] = False,
) -> None:
    """Judge, keep the report, print it, exit 0 or 3."""
    from tensafe.gate.load_gate import judge_package, keep_report
    from tensafe.gate.load_records import LoadPolicy
    from tensafe.gate.running import running_base
    from tensafe.tgsp.keystore import tensafe_home, trust_path
    from tensafe.tgsp.trust import load_trust
    from tinker_engine.connect import open_engine

    policy = LoadPolicy(
        max_rank=max_rank,
        experts="any" if allow_experts else "dense",
        needs_training_data=needs_training_data,
    )
    trust = load_trust(trust_path())
    with open_engine(engine, base_model=base_model) as connection:
        base = running_base(connection)
    report = judge_package(file, base, trust, policy)
    kept = keep_report(report, tensafe_home() / "gate")
    if as_json:
        print(json.dumps({**json.loads(report.to_json()), "report": str(kept)}, indent=2))
    else:
        _print(report, kept)
    sys.exit(0 if report.accepted else GATE_SAID_NO)


def _print(report: LoadReport, kept: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(Text(f"{report.package} on {report.base}", "bold"))
    for place, step in enumerate(report.steps, start=1):
        mark, style = ("✓", "green") if step.passed else ("✗", "red")
        line = Text.assemble((f" {mark}  ", style), f"{place} {step.name:<13} ", step.reason)
        console.print(line, soft_wrap=True)
        for fault in step.faults[1:]:
            console.print(Text(f"                   {fault}", "dim"), soft_wrap=True)
    style = "bold green" if report.accepted else "bold red"
    console.print(Text("accepted" if report.accepted else "REJECTED", style))
    console.print(Text(f"report {kept}"), soft_wrap=True)
