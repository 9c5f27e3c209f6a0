"""`tensafe report`: one page with everything that a run folder's records say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
Examples:

  tensafe report runs/my-files

  tensafe report runs/my-files --out report-for-me.html

The page quotes training and test text: it is for the data's owner, not for publication.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        epilog=EPILOG, help="Write a run's report as one HTML file (`train` does so at its end)."
    )(report)


def report(
    folder: Annotated[Path, typer.Argument(help="The run folder.", exists=True, file_okay=False)],
    out: Annotated[
        Path | None, typer.Option(help="The file [default: report.html in the run folder].")
    ] = None,
) -> None:
    """Write the page and print its path."""
    from tensafe.errors import UsageError
    from tensafe.report import write_report

    if out is not None and out.is_dir():
        raise UsageError(f"--out: {out} is a folder; give the file to write, such as report.html")
    print(write_report(folder, out))
