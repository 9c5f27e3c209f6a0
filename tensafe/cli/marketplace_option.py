"""`--marketplace [URL]`: an option whose value may be left out, and how listings are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from tensafe.marketplace.records import Listing

OPTION = "--marketplace"
MarketplaceOption = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="[URL]",
        help="oci://HOST/REPOSITORY, https://… or a folder; the URL may be left out "
        "[default: TENSAFE_MARKETPLACE, else the folder `marketplace` in TENSAFE_HOME].",
    ),
]


class MarketplaceCommand(TyperCommand):
    """A command whose `--marketplace` may stand alone, which means the default one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a lone option the empty value."""
        return super().parse_args(ctx, with_value(args))


def with_value(args: list[str]) -> list[str]:
    """The arguments with an empty value behind each `--marketplace` that has none.

    What follows is its value unless it is an option or names a package file.
    """
    filled: list[str] = []
    for place, argument in enumerate(args):
        filled.append(argument)
        if argument != OPTION or "--" in args[:place]:
            continue
        following = args[place + 1] if place + 1 < len(args) else None
        if following is None or following.startswith("-") or following.endswith(".tgsp"):
            filled.append("")
    return filled


def listing_line(listing: Listing) -> list[tuple[str, str]]:
    """What a listing says, as labels and values for a terminal."""
    rows = [
        ("domain", listing.domain or "not stated"),
        ("base", f"{listing.base} ({listing.architecture}), rank {listing.rank}"),
        ("score", score_text(listing)),
        ("privacy", privacy_text(listing)),
        ("licence", listing.licence or "not stated"),
        ("creator", listing.creator or "not stated"),
    ]
    if listing.yanked:
        rows.append(("withdrawn", listing.yanked))
    return rows


def score_text(listing: Listing) -> str:
    """The measured score with its interval."""
    if listing.score is None or listing.score_low is None or listing.score_high is None:
        return "not stated"
    return f"{listing.score:.3f} ({listing.score_low:.3f} to {listing.score_high:.3f})"


def privacy_text(listing: Listing) -> str:
    """Epsilon and delta, or that there are none."""
    if listing.epsilon is None or listing.delta is None:
        return "none: trained without differential privacy"
    return f"epsilon {listing.epsilon:.3f} at delta {listing.delta:.2e}"
