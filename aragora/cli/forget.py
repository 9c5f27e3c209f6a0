"""`aragora forget`: remove a person's debates, named ones, or old ones."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from aragora.cli.options import Database, Json

EPILOG = """
Words, votes, verdicts, calibration and what training jobs keep of the debates are removed and
can't be brought back. Ratings stay. The training sets that used the debates are named: files,
adapters and whatever else was made of them are yours to remove.

Examples:

  aragora forget --subject "jo@example.net" --dry-run

  aragora forget --subject "jo@example.net"

  aragora forget --debate 01a20ffa81342252ef3c1b466a0cf052

  aragora forget --before 2026-01-01 --json
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Remove debates for good: a person's, named or old ones.")(
        forget
    )


def forget(
    subject: Annotated[
        str | None, typer.Option(help="Whose debates: the name that they were stored under.")
    ] = None,
    debate: Annotated[list[str] | None, typer.Option(help="Id of a debate; repeatable.")] = None,
    before: Annotated[
        str | None, typer.Option(help="All that began before this day (UTC), as 2026-01-31.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Choose, remove, tell."""
    from aragora.errors import UsageError
    from aragora.memory import Memory

    if sum(map(bool, (subject, debate, before))) != 1:
        raise UsageError("give one of --subject NAME, --debate ID, --before DAY")
    moment = _moment(before) if before else 0.0
    with Memory.open(database) as memory:
        usage = memory.usage
        if subject:
            ids = usage.debates_of_subject(subject)
        elif before:
            ids = usage.debates_before(moment)
        else:
            # An id that isn't there is an error before anything is removed.
            ids = [memory.debates.get(one).debate.id for one in debate or ()]
        if dry_run:
            removed = len(ids)
        elif subject:
            removed = usage.delete_subject(subject).debates
        elif before:
            removed = usage.delete_before(moment).debates
        else:
            removed = usage.delete_debates(ids, "asked for by id").debates
        sets = usage.training_sets_of(ids)
    if as_json:
        told = {"debates": removed, "removed": not dry_run, "sets": [asdict(one) for one in sets]}
        print(json.dumps(told))
        return
    print(f"{removed} debates {'would be removed' if dry_run else 'removed'}")
    for made in sets:
        print(f"used by training set {made.id} ({made.kind}, {made.rows} rows, {made.digest[:12]})")


def _moment(day: str) -> float:
    from aragora.errors import UsageError

    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise UsageError(f"--before: {day!r} is not a day; write it as 2026-01-31") from error
