"""`tensafe publish`: offer a package to others."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tensafe.cli.marketplace_option import MarketplaceCommand, MarketplaceOption

EPILOG = """
Exit codes: 0 published (or there already), 1 the marketplace refused, 3 its load gate said no,
4 the package is not intact.

Examples:

  tensafe publish support.tgsp --marketplace

  tensafe publish support.tgsp --marketplace https://adapters.example.org

  tensafe publish support.tgsp --marketplace oci://registry.example.org/team/support
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        cls=MarketplaceCommand, epilog=EPILOG, help="Publish a signed package to a marketplace."
    )(publish)


def publish(
    file: Annotated[Path, typer.Argument(help="The .tgsp package.", exists=True, dir_okay=False)],
    marketplace: MarketplaceOption = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the signing key's passphrase, for a service "
            "[else TENSAFE_KEY_PASSPHRASE, or ask]."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Verify the package, publish it, say where it stands."""
    from tensafe.marketplace import publish as publish_package
    from tensafe.tgsp.passphrase import passphrase_source

    done = publish_package(file, marketplace, passphrase=passphrase_source(passphrase_file))
    listing = done.listing
    if as_json:
        value = {
            "marketplace": done.marketplace,
            "is_new": done.is_new,
            "listing": listing.as_dict(),
        }
        print(json.dumps(value, indent=2))
        return
    state = "published" if done.is_new else "there already"
    print(f"{state}: {listing.name}@{listing.version} in {done.marketplace}")
    print(f"package sha256:{listing.package_digest}")
    print(
        "Others get it with `tensafe pull "
        f"{listing.name}@{listing.version} --marketplace {done.marketplace}`, once they trust "
        "your key (`tensafe keys export`).",
        file=sys.stderr,
    )
