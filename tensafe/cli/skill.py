"""`tensafe skill` and `tensafe choose`: packages read as skills, and the one that fits a task."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.skills.chooser import Choice

SKILL_EPILOG = """
Without a package: TG Tinker's own skill, for agents that create adapters. With --out, agents that
look for skills in a folder find it there.

Exit codes: 0 done, 1 no skill document, 4 the package is not intact.

Examples:

  tensafe skill support.tgsp

  tensafe skill --out ./skills
"""
CHOOSE_EPILOG = """
Exit codes: 0 one fits, 3 none does.

Example:

  tensafe choose "answer questions about parking fines" --folder ./adapters
"""
NONE_FITS = 3


def register(app: typer.Typer) -> None:
    """Add both commands to the application."""
    app.command(epilog=SKILL_EPILOG, help="Show a package's skill document, once verified.")(skill)
    app.command(epilog=CHOOSE_EPILOG, help="Choose the package of a folder that fits a task.")(
        choose
    )


def skill(
    file: Annotated[
        Path | None, typer.Argument(help="The .tgsp package.", exists=True, dir_okay=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder in which to write NAME/SKILL.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Print or write a skill document."""
    from tensafe.skills.skill_folder import TG_TINKER, own_skill, package_skill, write_skill
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.text import visible
    from tensafe.tgsp.trust import load_trust
    from tensafe.tgsp.verification import verify_package

    if file is None:
        name, document, trusted = TG_TINKER, own_skill(), True
    else:
        found = verify_package(file, load_trust(trust_path()))
        view = found.require(trusted=False).view
        name, document, trusted = view.name, package_skill(view), found.is_trusted
    written = write_skill(document, name, out) if out is not None else None
    if not trusted:
        print(
            "You don't trust its creator: an agent shouldn't do what it says unread.",
            file=sys.stderr,
        )
    if as_json:
        path = str(written) if written is not None else None
        print(
            json.dumps(
                {"name": name, "is_trusted": trusted, "path": path, "document": document}, indent=2
            )
        )
    elif written is not None:
        print(written)
    else:
        print(visible(document), end="")


def choose(
    task: Annotated[str, typer.Argument(help="What is to be done, in a sentence.")],
    folder: Annotated[Path, typer.Option(help="Folder with .tgsp files.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Rank packages for a task; exit 3 when none fits."""
    from tensafe.skills.chooser import choose_package
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.trust import load_trust

    choice = choose_package(task, folder, load_trust(trust_path()))
    if as_json:
        print(json.dumps(choice.to_json(), indent=2))
    else:
        _print(choice)
    raise typer.Exit(0 if choice.best is not None else NONE_FITS)


def _print(choice: Choice) -> None:
    from tensafe.tgsp.text import one_line

    for candidate in choice.candidates:
        mark = "fits" if candidate.fits else "    "
        trust = "trusted" if candidate.is_trusted else "untrusted"
        print(f"{mark}  {candidate.score:4.0%}  {one_line(candidate.name)}  ({trust})")
        print(f"            {one_line(candidate.description)}")
    for path, reason in choice.left_out:
        print(f"left out: {one_line(path.name)}: {one_line(reason)}")
    if choice.best is None:
        print("none fits")
