"""`tensafe export`: a package's adapter as safetensors, PyTorch or GGUF, checked for parity."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.tgsp.export import ExportReport

EPILOG = """
Examples:

  tensafe export runs/helpdesk/helpdesk.tgsp --format safetensors

  tensafe export support.tgsp --format gguf --out ./support-gguf --base-model ./my_base

Exit codes: 0 written and equal to the package; 1 the format can't express it, or it differed
(nothing is left then); 2 usage; 4 the package or the base does not check out.
"""


class FormatName(StrEnum):
    """The formats by the names that the command line takes."""

    safetensors = "safetensors"
    pytorch = "pytorch"
    gguf = "gguf"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        help="Write a package's adapter as safetensors (PEFT), PyTorch (.pt, .bin) or GGUF.",
        epilog=EPILOG,
    )(export)


def export(
    file: Annotated[Path, typer.Argument(help="The .tgsp package.", exists=True, dir_okay=False)],
    format: Annotated[FormatName, typer.Option(help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(help="New or empty folder [default: beside FILE, NAME-FORMAT].")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="The package's base: a folder or hub id [nano: built in].")
    ] = None,
    require_trusted: Annotated[
        bool, typer.Option("--require-trusted", help="Exit 4 if the creator is not trusted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, export, print."""
    from tensafe.tgsp.export import export_package
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.trust import load_trust

    report = export_package(
        file,
        format.value,
        load_trust(trust_path()),
        out=out,
        base_model=base_model,
        require_trusted=require_trusted,
    )
    if as_json:
        typer.echo(json.dumps({"folder": str(report.folder), **report.to_json()}, indent=2))
    else:
        typer.echo(describe(report))


def describe(report: ExportReport) -> str:
    """The report as text: files, comparisons, and what could not be written."""
    lines = [f"package {report.statement}", f"{report.folder}/"]
    lines += [f"    {name}" for name in report.files]
    lines += [
        f"parity  {check.name}: logits differ by at most {check.max_difference:.2g} on "
        f"{check.prompts} prompts (allowed {check.tolerance:g}; the adapter moves them by up to "
        f"{check.adapter_effect:.3g})"
        for check in report.checks
    ]
    lines += [f"not written: {name}: {reason}" for name, reason in report.remarks.left_out.items()]
    lines += [f"note: {note}" for note in report.remarks.notes]
    return "\n".join(lines)
