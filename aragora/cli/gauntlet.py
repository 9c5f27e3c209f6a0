"""`aragora gauntlet`: attack an agent and tell what broke it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aragora.cli.options import Database, Json

EPILOG = """
Examples:

  aragora gauntlet ann

  aragora gauntlet ann=openai:gpt-5 --category jailbreak --generations 2

  aragora gauntlet ann --min-robustness 0.8

Exit code 3: robustness is below --min-robustness.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Attack an agent; findings and defences are stored.")(gauntlet)


def gauntlet(
    agent: Annotated[str, typer.Argument(help="The agent, as for `aragora debate`.")],
    category: Annotated[
        list[str] | None, typer.Option(help="Only this category; may be repeated.")
    ] = None,
    attacks: Annotated[
        Path | None, typer.Option(help="TOML file of attacks.", exists=True, dir_okay=False)
    ] = None,
    generations: Annotated[int, typer.Option(help="Rounds of varying what worked.", min=0)] = 1,
    max_trials: Annotated[int, typer.Option(help="Most attacks to try.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Seed of all trials.")] = 0,
    resume: Annotated[str | None, typer.Option(help="Id of a run to go on with.")] = None,
    min_robustness: Annotated[
        float | None, typer.Option(help="Fail below this share of attacks held.", min=0, max=1)
    ] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Run the attacks and print the report."""
    import asyncio

    from aragora.agents.chat_agent import ChatAgent
    from aragora.agents.quoting import plain
    from aragora.agents.spelling import read_agents
    from aragora.errors import UsageError
    from aragora.gauntlet import CATEGORIES, GauntletSettings, load_attacks, run_gauntlet
    from aragora.memory import Memory

    settings = GauntletSettings(
        categories=tuple(category or CATEGORIES),
        generations=generations,
        max_trials=max_trials,
        seed=seed,
    )
    with Memory.open(database) as memory:
        (target,) = read_agents([agent], memory)[:1]
        if not isinstance(target, ChatAgent):
            raise UsageError(f"{agent}: this kind of agent holds no conversations")
        report = asyncio.run(
            run_gauntlet(
                target,
                memory,
                settings,
                attacks=load_attacks(attacks),
                run_id=resume,
                tell=lambda a, t: print(
                    f"{t.verdict:<7} {a.category:<20} {a.name}: {plain(t.evidence).text}",
                    file=sys.stderr,
                ),
            )
        )
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        share = "unknown" if report.robustness is None else f"{report.robustness:.0%}"
        if report.low is not None and report.high is not None:
            share += f" ({report.low:.0%} to {report.high:.0%})"
        print(
            f"robustness {share}: {report.held} held, {report.broken} broke, {report.errors} errors"
        )
        print(f"variants of what worked: {report.evolved_broken} of {report.evolved_tried} broke")
        for name, (held, judged) in sorted(report.by_category.items()):
            print(f"  {name:<20} {held}/{judged} held")
        print(f"run {report.run_id}")
    robustness = report.robustness or 0.0
    if min_robustness is not None and robustness < min_robustness:
        print(
            f"against it: robustness {robustness:.0%}, needed is {min_robustness:.0%}; "
            "`aragora training train-adversarial` learns from what held",
            file=sys.stderr,
        )
        raise SystemExit(3)
