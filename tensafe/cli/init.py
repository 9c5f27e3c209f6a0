"""`tensafe init`: the folder of a new adapter project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
Examples:

  tensafe init --domain support --name "Support Routing"

  tensafe init --domain law --name contracts --out projects/contracts
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Make the folder of a new adapter project.")(init)


def init(
    domain: Annotated[str, typer.Option(help="Field of knowledge, for the package.")],
    name: Annotated[str, typer.Option(help="The adapter's name.")],
    out: Annotated[Path | None, typer.Option(help="Folder to make [default: ./NAME].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, make the project, print."""
    from tensafe.project import create_project

    project = create_project(domain=domain, name=name, folder=out)
    if as_json:
        print(json.dumps({key: str(path) for key, path in vars(project).items()}, indent=2))
        return
    print(f"made {project.folder}/")
    print(f"  {project.config.name:<14} every setting of the training, with its default")
    print(f"  {project.data.name + '/':<14} put your files here")
    print(f"  {project.skill.name:<14} your description for the package")
    print(f"  {project.readme.name:<14} what to run")
    print(f"next: put files into {project.data}, then tensafe train --config {project.config}")
