"""`tensafe search`: find adapters by what they are for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tensafe.cli.marketplace_option import MarketplaceCommand, MarketplaceOption, listing_line

if TYPE_CHECKING:
    from tensafe.marketplace.records import Listing

EPILOG = """
A listing is what the marketplace says; `tensafe pull` verifies what the package says.

Examples:

  tensafe search "which team handles a customer's message"

  tensafe search invoices --min-score 0.8 --max-epsilon 8 --marketplace https://adapters.example.org
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(cls=MarketplaceCommand, epilog=EPILOG, help="Search a marketplace for adapters.")(
        search
    )


def search(
    text: Annotated[str, typer.Argument(help="Words of the skill document; none lists all.")] = "",
    marketplace: MarketplaceOption = None,
    domain: Annotated[str | None, typer.Option(help="Exactly this domain.")] = None,
    base: Annotated[str | None, typer.Option(help="Exactly this base model.")] = None,
    licence: Annotated[str | None, typer.Option(help="Exactly this licence.")] = None,
    creator: Annotated[
        str | None, typer.Option(help="Creator's name, or their key's fingerprint.")
    ] = None,
    min_score: Annotated[float | None, typer.Option(help="Least score, 0 to 1.")] = None,
    max_epsilon: Annotated[
        float | None, typer.Option(help="Largest epsilon; leaves out what has no privacy.")
    ] = None,
    order: Annotated[
        Literal["relevance", "newest", "score", "downloads"], typer.Option(help="What comes first.")
    ] = "relevance",
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Search, print each hit, exit 0 also when there is none."""
    from tensafe.marketplace import search as search_packages

    found = search_packages(
        text,
        marketplace,
        domain=domain,
        base=base,
        licence=licence,
        creator=creator,
        min_score=min_score,
        max_epsilon=max_epsilon,
        order=order,
        limit=limit,
    )
    if as_json:
        print(json.dumps([listing.as_dict() for listing in found], indent=2))
        return
    for listing in found:
        _print(listing)
    if not found:
        print("nothing found: try other words or fewer conditions", file=sys.stderr)


def _print(listing: Listing) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(
        Text.assemble((f"{listing.name}@{listing.version}", "bold"), "  ", listing.description),
        soft_wrap=True,
    )
    for label, value in listing_line(listing):
        console.print(Text.assemble((f"  {label:<10}", "dim"), value), soft_wrap=True)
