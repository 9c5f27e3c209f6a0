"""`tensafe analyze`: what is in the data, and how it would be understood."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.data.analysis import Analysis, FileAnalysis
    from tensafe.data.domains import DomainGuess

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
    size = sum(file.size_bytes for file in analysis.files)
    lines += [
        "",
        f"{len(analysis.files)} files ({formats or 'none'}), {size:,} bytes, "
        f"{_counted(analysis.examples)}, about {analysis.estimated_tokens:,} tokens",
    ]
    lines += _finding_lines(analysis.languages, analysis.duplicates, analysis.pii)
    if analysis.domain.passages:
        lines.append(_domain_line(analysis.domain))
    if analysis.pii:
        lines.append("`tensafe train --redact` puts marks such as [EMAIL] in their place")
    return "\n".join(lines)


def _file_lines(file: FileAnalysis) -> list[str]:
    detail = f", {file.detail}" if file.detail else ""
    lines = [f"{file.name}  {file.format}{detail}, {file.size_bytes:,} bytes, {file.layout}"]
    if file.columns:
        lines.append(f"    {file.records:,} rows, columns: {_listed(file.columns)}")
    if file.mapping:
        lines.append(f"    {file.mapping}")
    if file.examples:
        lines.append(f"    {_counted(file.examples)}, about {file.estimated_tokens:,} tokens")
    found = _finding_lines(file.languages, file.duplicates, file.pii)
    lines += [f"    {line}" for line in found]
    lines += [f"    {count:,} rows left out: {reason}" for reason, count in file.skipped.items()]
    for part in file.unreadable:
        where = f"{part.place}: " if part.place else ""
        lines.append(f"    can't use {where}{part.reason}; {part.advice}")
    return lines


def _finding_lines(languages: dict[str, int], duplicates: int, pii: dict[str, int]) -> list[str]:
    lines: list[str] = []
    if languages:
        names = {"short": "too short to tell", "unclear": "not clear"}
        total = sum(languages.values())
        ordered = sorted(languages.items(), key=lambda item: (item[0] in names, -item[1]))
        shares = [
            f"{names.get(name, name)} {count / total:.0%}"
            for name, count in ordered
            if count * 200 >= total
        ]
        lines.append(f"language in a sample of {total:,}: {_listed(shares, 6)}")
    if duplicates:
        lines.append(f"{duplicates:,} duplicates")
    if pii:
        kinds = {"iban": "IBAN", "ssn": "SSN", "ip": "IP address", "email": "e-mail"}
        counts = [f"{kinds.get(kind, kind)} {count:,}" for kind, count in pii.items()]
        lines.append(f"personal data and secrets: {', '.join(counts)}")
    return lines


def _domain_line(guess: DomainGuess) -> str:
    from tensafe.data.domains import LOW_CONFIDENCE

    reasons = f" by {', '.join(guess.evidence)}" if guess.evidence else ""
    unsure = "; no field stands out" if guess.confidence < LOW_CONFIDENCE else ""
    return f"domain: {guess.domain} (confidence {guess.confidence:.2f}{reasons}{unsure})"


def _listed(names: Sequence[str], shown: int = 15) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _counted(examples: dict[str, int]) -> str:
    names = {"qa": "questions with answers", "chat": "chats", "text": "passages of prose"}
    parts = [f"{count:,} {names[kind]}" for kind, count in sorted(examples.items())]
    return ", ".join(parts) or "no examples"
