"""`tensafe marketplace`: run one, and look after what one has published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tensafe.cli.marketplace_option import MarketplaceCommand, MarketplaceOption

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the signing key's passphrase [else TENSAFE_KEY_PASSPHRASE, or ask]."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")]

marketplace_app = typer.Typer(
    help="Serve a marketplace, and withdraw versions from one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(marketplace_app, name="marketplace")


@marketplace_app.command(cls=MarketplaceCommand)
def yank(
    reference: Annotated[str, typer.Argument(help="NAME@VERSION or sha256:DIGEST.")],
    reason: Annotated[str, typer.Option(help="Shown to everybody who asks for it.")],
    marketplace: MarketplaceOption = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a version of yours: it stays readable, and nobody is given it by default."""
    from tensafe.marketplace import yank as yank_version
    from tensafe.tgsp.passphrase import passphrase_source

    done = yank_version(
        reference, reason, marketplace, passphrase=passphrase_source(passphrase_file)
    )
    if as_json:
        print(json.dumps(done.as_dict(), indent=2))
    else:
        print(f"withdrawn: {done.name}@{done.version}")
