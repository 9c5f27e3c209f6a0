"""`aragora debate`: one debate with a live view."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aragora.cli.options import Database, Json

if TYPE_CHECKING:
    from aragora.debate import Arena, DebateEvent

EPILOG = """
Examples:

  aragora debate '$52.74 or $74.29: which is dearer?'

  aragora debate --task-file task.txt --agents ann,bob,cem=openai:gpt-5 --protocol sparse

  aragora debate --resume 01a20ffa81342252ef3c1b466a0cf052

An agent is name, name=model or name=provider:model, with @critic or @judge behind it for another
role. Exit code 3: no consensus was reached.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Let agents debate a task; everything said is stored.")(debate)


def debate(
    task: Annotated[str | None, typer.Argument(help="The task.")] = None,
    task_file: Annotated[
        Path | None, typer.Option(help="Read the task from a file.", exists=True, dir_okay=False)
    ] = None,
    agents: Annotated[
        list[str] | None, typer.Option(help="Agents, separated by commas [default: ann,bob,cem].")
    ] = None,
    protocol: Annotated[str, typer.Option(help="A protocol's name, or a .toml file.")] = "debate",
    rounds: Annotated[int | None, typer.Option(help="Rounds, in place of the protocol's.")] = None,
    domain: Annotated[str, typer.Option(help="Domain that ratings are kept for.")] = "general",
    answer: Annotated[
        str | None, typer.Option(help="The right answer, to score by (the debate is held out).")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(help="A person whose data the task holds, for `aragora forget`; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all turns.")] = None,
    resume: Annotated[str | None, typer.Option(help="Id of a debate to go on with.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the transcript as HTML.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the transcript as Markdown.")] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Run or resume a debate and print its answer."""
    import asyncio

    from aragora.agents.spelling import read_agents
    from aragora.debate import Arena, Environment, KeyVerifier, load_protocol, to_html, to_markdown
    from aragora.errors import UsageError
    from aragora.memory import Memory
    from tensafe.files import write_text

    changes = {} if rounds is None else {"rounds": rounds}
    chosen = load_protocol(protocol, **changes)
    with Memory.open(database) as memory:
        verifier = None if answer is None else KeyVerifier(answer)
        if resume is not None:
            stored = memory.debates.get(resume)
            words = agents or [f"{p.agent}@{p.role}" for p in stored.participants]
            arena = Arena.resume(
                resume, read_agents(words, memory), memory=memory, verifier=verifier
            )
        else:
            text = task_file.read_text("utf-8") if task_file is not None else task
            if text is None or not text.strip():
                raise UsageError('give a task, as in aragora debate "is 5 or 7 larger?"')
            env = Environment(
                text,
                domain=domain,
                split="none" if answer is None else "held_out",
                verifier=verifier,
                subjects=tuple(subject or ()),
            )
            seated = read_agents(agents or ["ann,bob,cem"], memory)
            arena = Arena(env, seated, chosen, memory=memory, seed=seed)
        try:
            asyncio.run(_watch(arena, as_json))
        except KeyboardInterrupt:
            print(f"stopped; go on with --resume {arena.debate_id}", file=sys.stderr)
            raise SystemExit(1) from None
        stored = memory.debates.get(arena.debate_id)
    for path, render in ((html, to_html), (markdown, to_markdown)):
        if path is not None:
            write_text(path, render(stored))
            print(path, file=sys.stderr)
    outcome = stored.outcome
    assert outcome is not None
    if as_json:
        print(json.dumps(vars(outcome)))
    else:
        print(outcome.answer if outcome.answer is not None else "(no answer)")
    raise SystemExit(0 if outcome.is_reached else 3)


async def _watch(arena: Arena, as_json: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    async for event in arena.stream():
        if as_json:
            print(event.as_json(), file=sys.stderr, flush=True)
            continue
        for line, style in lines_of(event):
            console.print(Text(line, style=style))


def lines_of(event: DebateEvent) -> list[tuple[str, str]]:
    """What the terminal shows of an event, with its style; agents' text has no control codes."""
    from aragora.agents.quoting import plain

    data = event.data
    if event.kind == "begun":
        seated = ", ".join(f"{a['label']} {a['agent']} ({a['model']})" for a in data["agents"])
        return [(f"{data['protocol']}: {seated}", "dim")]
    if event.kind == "round":
        return [(f"round {data['round']}", "bold")]
    if event.kind in ("said", "failed"):
        on = f" on {data['target']}" if data["target"] is not None else ""
        words = plain(" ".join(str(data["text"]).split()), has_roles=True).text
        shown = words if len(words) <= 160 else f"{words[:160]}…"
        if event.kind == "failed":
            shown = plain(f"{data['status']}: {data['error']}", has_roles=True).text
        line = f"  {data['label']} {data['agent']} {data['phase']}{on}: {shown}"
        return [(line, "red" if event.kind == "failed" else "")]
    if event.kind == "agreement":
        return [(f"  agreement {data['agreement']:.0%}", "dim")]
    if event.kind == "outcome":
        word = "consensus" if data["is_reached"] else "no consensus"
        return [
            (
                f"{word} by {data['decided_by']}, confidence {data['confidence']:.0%}, "
                f"stopped by {data['stopped']}",
                "green" if data["is_reached"] else "yellow",
            )
        ]
    return []
