"""`aragora transcript`: a stored debate as Markdown or HTML, or found by its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aragora.cli.options import Database, Json

EPILOG = """
Examples:

  aragora transcript 01a20ffa81342252ef3c1b466a0cf052 --html debate.html

  aragora transcript --search "parental leave"
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Show a stored debate, or find debates by their words.")(
        transcript
    )


def transcript(
    debate_id: Annotated[str | None, typer.Argument(help="Id of the debate.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write HTML to this file.")] = None,
    search: Annotated[str | None, typer.Option(help="Find messages that hold these words.")] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Print Markdown, write HTML, or list what was found."""
    from aragora.debate import replay, to_html, to_markdown
    from aragora.errors import UsageError
    from aragora.memory import Memory
    from tensafe.files import write_text

    with Memory.open(database) as memory:
        if search is not None:
            for message in memory.debates.search(search):
                if as_json:
                    print(json.dumps(vars(message)))
                else:
                    words = " ".join(message.text.split())[:100]
                    print(f"{message.debate_id}  {message.phase}  {words}")
            return
        if debate_id is None:
            raise UsageError("give a debate's id, or --search WORDS")
        stored = memory.debates.get(debate_id)
    if html is not None:
        write_text(html, to_html(stored))
        print(html)
    elif as_json:
        for event in replay(stored):
            print(event.as_json())
    else:
        print(to_markdown(stored), end="")
