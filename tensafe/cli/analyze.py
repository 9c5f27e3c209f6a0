"""`tensafe analyze`: what is in the data, and how it would be understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.data.analysis import Analysis, FileAnalysis

EPILOG = """
Examples:

  tensafe analyze ./my_corpus

  tensafe analyze tickets.csv --question-column message --answer-column queue
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Show what is in the data and how it is understood.")(analyze)


def analyze(
    path: Annotated[Path, typer.Argument(help="File or folder of data.")],
    question_column: Annotated[
        list[str] | None, typer.Option(help="Column(s) with the question; repeatable.")
    ] = None,
    answer_column: Annotated[str | None, typer.Option(help="Column with the answer.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, analyse, print."""
    from tensafe.data import ColumnChoice, ReadOptions, analyze_data

    columns = ColumnChoice(tuple(question_column or ()), answer_column)
    analysis = analyze_data(path, ReadOptions(columns))
    if as_json:
        typer.echo(json.dumps(analysis.to_json(), indent=2))
    else:
        typer.echo(describe(analysis))


def describe(analysis: Analysis) -> str:
    """The analysis as text: a block for each file, then the totals."""
    lines: list[str] = []
    for file in analysis.files:
        lines += _file_lines(file)
    for part in analysis.left_out:
        lines += [f"{part.source}  not read: {part.reason}", f"    {part.advice}"]
    formats = ", ".join(f"{count} {name}" for name, count in analysis.formats.items())
    lines += [
        "",
        f"{len(analysis.files)} files ({formats or 'none'}), {_counted(analysis.examples)}, about "
        f"{analysis.estimated_tokens:,} tokens",
    ]
    return "\n".join(lines)


def _file_lines(file: FileAnalysis) -> list[str]:
    detail = f", {file.detail}" if file.detail else ""
    lines = [f"{file.name}  {file.format}{detail}, {file.size_bytes:,} bytes"]
    if file.mapping:
        lines.append(f"    {file.mapping}")
    if file.examples:
        lines.append(f"    {_counted(file.examples)}, about {file.estimated_tokens:,} tokens")
    lines += [f"    {count:,} rows left out: {reason}" for reason, count in file.skipped.items()]
    for part in file.unreadable:
        where = f"{part.place}: " if part.place else ""
        lines.append(f"    can't use {where}{part.reason}; {part.advice}")
    return lines


def _counted(examples: dict[str, int]) -> str:
    names = {"qa": "questions with answers", "chat": "chats", "text": "passages of prose"}
    parts = [f"{count:,} {names[kind]}" for kind, count in sorted(examples.items())]
    return ", ".join(parts) or "no examples"
