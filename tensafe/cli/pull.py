"""`tensafe pull`: get a package from a marketplace, verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tensafe.cli.marketplace_option import MarketplaceCommand, MarketplaceOption

EPILOG = """
Exit codes: 0 there and verified, 1 no such package, 4 not intact or not trusted (nothing is left).

Trust comes from your trust store alone (see `tensafe keys trust`), never from a marketplace.

Examples:

  tensafe pull support-routing --marketplace

  tensafe pull support-routing@2 --out support.tgsp --marketplace https://adapters.example.org

  tensafe pull oci://registry.example.org/team/support:latest
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        cls=MarketplaceCommand, epilog=EPILOG, help="Get a package from a marketplace, verified."
    )(pull)


def pull(
    reference: Annotated[
        str, typer.Argument(help="NAME, NAME@VERSION, sha256:DIGEST or oci://HOST/REPOSITORY:TAG.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File or folder [default: here].")
    ] = None,
    marketplace: MarketplaceOption = None,
    allow_untrusted: Annotated[
        bool,
        typer.Option("--allow-untrusted", help="Accept a creator who isn't in the trust store."),
    ] = False,
    allow_yanked: Annotated[
        bool, typer.Option("--allow-yanked", help="Accept a version that was withdrawn.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Find, fetch, verify, keep."""
    from tensafe.marketplace import pull as pull_package
    from tensafe.tgsp.verification import VERDICTS

    done = pull_package(
        reference,
        out,
        marketplace,
        trusted=not allow_untrusted,
        allow_yanked=allow_yanked,
    )
    if as_json:
        value = {
            "path": str(done.path),
            "marketplace": done.marketplace,
            "verdict": done.verification.verdict,
            "listing": done.listing.as_dict(),
        }
        print(json.dumps(value, indent=2))
        return
    print(f"{done.path}: {VERDICTS[done.verification.verdict]}")
    print(f"package sha256:{done.listing.package_digest}")
