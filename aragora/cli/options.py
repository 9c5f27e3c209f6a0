"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Database = Annotated[
    str | None,
    typer.Option(help="SQLAlchemy URL or SQLite file [default: ARAGORA_DATABASE_URL, ~/.aragora]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
