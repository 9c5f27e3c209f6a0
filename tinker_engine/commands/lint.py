"""`tinker-engine lint-adapter`: whether PEFT and vLLM load an adapter folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tinker_engine.models.key_lint import LintReport
    from tinker_engine.models.module_shapes import ModuleShapes

EXIT_VERIFICATION_FAILED = 4


class ProfileName(StrEnum):
    """The loaders by the names that the command line takes."""

    peft = "peft"
    vllm = "vllm"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("lint-adapter")(lint_adapter)


def lint_adapter(
    folder: Annotated[Path, typer.Argument(help="Folder with adapter_config.json.")],
    profile: Annotated[
        ProfileName | None, typer.Option(help="Look with the eyes of one loader, not both.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            help="`nano`, a hub id or a folder (its config.json is enough) to compare names and "
            "sizes with; without it the base that the adapter names, where that is on this machine."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Tell whether PEFT and vLLM load an adapter folder, naming each bad tensor and why.

    Exit codes: 0 loads, or nothing speaks against it; 1 can't be read; 4 doesn't load.
    """
    from tinker_engine.models.key_lint import PROFILES
    from tinker_engine.models.key_lint import lint_adapter as lint

    profiles = PROFILES if profile is None else (profile.value,)
    report = lint(folder, _base(folder, base_model), profiles)
    verdicts = {name: report.verdict(name) for name in report.profiles}
    if as_json:
        typer.echo(json.dumps({**asdict(report), "verdicts": verdicts}))
    else:
        typer.echo(_told(report))
    if "fails" in verdicts.values():
        raise typer.Exit(EXIT_VERIFICATION_FAILED)


def _base(folder: Path, name: str | None) -> ModuleShapes | None:
    """The base given, or named by the adapter where that needs no network."""
    from tinker_engine.models.key_lint import stated_base
    from tinker_engine.models.module_shapes import folder_shapes

    if name is None:
        stated = stated_base(folder)
        if stated != "nano" and not Path(stated or "-").is_dir():
            return None
        name = stated
    return folder_shapes(name)


def _told(report: LintReport) -> str:
    """Verdict by loader, each with its findings; what is found alike in many places once."""
    lines: list[str] = []
    for profile in report.profiles:
        places: dict[tuple[str, str], list[str]] = {}
        for finding in report.findings:
            if finding.profile == profile:
                places.setdefault((finding.level, finding.problem), []).append(finding.place)
        is_open = any(level == "unsure" for level, _ in places)
        words = {
            "loads": "loads",
            "fails": "does not load it",
            "unsure": "can't tell" if is_open else "nothing speaks against it",
        }
        lines.append(f"{profile}: {words[report.verdict(profile)]}")
        for (level, problem), found in places.items():
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            lines.append(f"  {level}: {found[0]}{more}: {problem}")
    if not report.has_base:
        lines.append("without the base, names and sizes of its modules were not compared")
    return "\n".join(lines)
