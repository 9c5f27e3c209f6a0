"""`aragora leaderboard`: who debates well, and who knows how sure to be."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from aragora.cli.options import Database, Json

EPILOG = """
Examples:

  aragora leaderboard

  aragora leaderboard --domain reading --json

skill is openskill's estimate with a 95% interval; Brier and ECE are of stated confidence, and
smaller is better.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Ratings and calibration of all agents.")(leaderboard)


def leaderboard(
    domain: Annotated[str, typer.Option(help="One domain instead of all.")] = "",
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Print the table."""
    from aragora.agents.quoting import plain
    from aragora.memory import Memory
    from aragora.ranking import leaderboard as ranked

    with Memory.open(database) as memory:
        entries = ranked(memory, domain=domain)
        domains = memory.standings.domains()
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries]))
        return
    if not entries:
        known = f"; domains with ratings: {', '.join(domains)}" if domains else ""
        print(f"no rated debates yet{known}")
        return
    print(
        f"{'':>3} {'agent':<24} {'Elo':>6} {'W/D/L':>11} {'skill (95%)':>20} "
        f"{'Brier':>6} {'ECE':>6}"
    )
    for e in entries:
        record = f"{e.wins}/{e.draws}/{e.losses}"
        skill = f"{e.skill:.1f} ({e.skill_low:.1f} to {e.skill_high:.1f})"
        brier = "" if e.brier is None else f"{e.brier:.3f}"
        ece = "" if e.ece is None else f"{e.ece:.3f}"
        name = plain(e.agent, has_roles=True).text[:24]
        print(f"{e.place:>3} {name:<24} {e.elo:>6.0f} {record:>11} {skill:>20} {brier:>6} {ece:>6}")
