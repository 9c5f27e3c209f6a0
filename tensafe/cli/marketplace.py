"""`tensafe marketplace`: run one, and look after what one has published."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tensafe.cli.marketplace_option import MarketplaceCommand, MarketplaceOption

if TYPE_CHECKING:
    from tensafe.gate.load_records import RunningBase
    from tensafe.marketplace.service.config import MarketConfig

SERVE_EPILOG = """
Every setting is also a variable, as in TENSAFE_MARKETPLACE_MAX_PACKAGE_BYTES. Put a proxy with TLS
in front of it, and say with --public-url what the proxy is called.

Examples:

  tensafe marketplace serve

  tensafe marketplace serve --base nano.json --database postgresql://market@db/market --public-url
  https://adapters.example.org --host 0.0.0.0
"""

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


keys_app = typer.Typer(
    help="Your keys at a service: let a new one publish, stop an old one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
marketplace_app.add_typer(keys_app, name="keys")

ADD_EPILOG = """
Examples:

  tensafe keys rotate "Ada Lovelace"

  tensafe marketplace keys add --marketplace https://adapters.example.org
"""


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


@marketplace_app.command(epilog=SERVE_EPILOG)
def serve(
    folder: Annotated[
        Path | None,
        typer.Option(help="Packages and database [default: marketplace-service in TENSAFE_HOME]."),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="sqlite:///FILE or postgresql://… [default: in the folder].")
    ] = None,
    base: Annotated[
        list[Path] | None,
        typer.Option(help="Facts of a base (`tensafe marketplace base`); may be repeated."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Without --base: embedded or a URL to ask for the base.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Without --base: which base to ask for [default: nano].")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8300,
    public_url: Annotated[
        str | None, typer.Option(help="How clients reach it, if not by host and port.")
    ] = None,
    registration: Annotated[
        Literal["open", "closed"] | None,
        typer.Option(help="May anybody register a key? [default: open]"),
    ] = None,
    proxies: Annotated[
        str, typer.Option(help="Addresses of proxies whose X-Forwarded-For is believed.")
    ] = "",
) -> None:
    """Serve a marketplace: HTTP interface and web page, until interrupted."""
    from tensafe.marketplace.service.host import MarketHost

    config = _config(
        folder=folder, database_url=database, public_url=public_url, registration=registration
    )
    bases = _bases(base or [], engine, base_model)
    served = MarketHost(config, bases, host=host, port=port, proxies=proxies)
    print(f"marketplace at {served.market.public_url}, packages in {config.folder}", flush=True)
    print(f"takes adapters for {', '.join(served.market.packages.bases)}", file=sys.stderr)
    served.run()


@marketplace_app.command("base")
def base_facts(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    engine: Annotated[
        str | None, typer.Option(help="embedded or a URL [default: see TINKER_BASE_URL].")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Which base [default: nano, or the server's].")
    ] = None,
) -> None:
    """Write what a marketplace has to know of a base model, as the engine states it."""
    from tensafe.marketplace.service.bases import write_base

    facts = _bases([], engine, base_model)[0]
    write_base(out, facts)
    print(f"{out}: {facts.name}, {len(facts.modules)} modules")


@marketplace_app.command("register", cls=MarketplaceCommand)
def register_key(
    marketplace: MarketplaceOption = None,
    key: Annotated[str | None, typer.Option(help="Your signing key, if you have several.")] = None,
    handle: Annotated[
        str, typer.Option(help="Under which name you publish [default: the key's].")
    ] = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Register your key at a service, which `tensafe publish` else does under the key's name."""
    from tensafe.errors import UsageError
    from tensafe.marketplace.client import ServiceMarketplace
    from tensafe.marketplace.places import open_marketplace
    from tensafe.tgsp.keystore import ensure_signing_key
    from tensafe.tgsp.passphrase import passphrase_source

    place = open_marketplace(marketplace)
    if not isinstance(place, ServiceMarketplace):
        raise UsageError(f"{place.url} knows no creators: only a service (https://…) does")
    signer = ensure_signing_key(key, passphrase=passphrase_source(passphrase_file))
    done = place.register(signer, handle)
    if as_json:
        print(json.dumps({"handle": done.handle, "fingerprint": done.fingerprint}))
    else:
        print(f"registered {done.fingerprint} as {done.handle}")


@keys_app.command("add", cls=MarketplaceCommand, epilog=ADD_EPILOG)
def add_key(
    marketplace: MarketplaceOption = None,
    key: Annotated[str | None, typer.Option(help="The new key, if you have several.")] = None,
    known: Annotated[
        str,
        typer.Option(
            help="Your key that is registered there: its name, or the fingerprint of a rotated "
            "one [default: the one that the new key replaced]."
        ),
    ] = "",
    passphrase_file: PassphraseFile = None,
    known_passphrase_file: Annotated[
        Path | None, typer.Option(help="The same for the registered key [default: the same].")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a new key publish for you: it and one that the service knows both sign."""
    from tensafe.marketplace.creator_keys import add_key as add
    from tensafe.tgsp.passphrase import passphrase_source

    done = add(
        key,
        marketplace,
        known=known,
        passphrase=passphrase_source(passphrase_file),
        known_passphrase=passphrase_source(known_passphrase_file or passphrase_file),
    )
    if as_json:
        print(json.dumps({"handle": done.handle, "fingerprint": done.fingerprint}))
    else:
        print(f"{done.fingerprint} publishes as {done.handle}")


@keys_app.command("revoke", cls=MarketplaceCommand)
def revoke_key(
    fingerprint: Annotated[str, typer.Argument(help="The key that never publishes again.")],
    reason: Annotated[str, typer.Option(help="Shown to everybody.")],
    marketplace: MarketplaceOption = None,
    key: Annotated[
        str | None, typer.Option(help="Your key that signs this, if you have several.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Stop one of your keys at a service; versions that it published stay."""
    from tensafe.marketplace.creator_keys import revoke_key as revoke
    from tensafe.tgsp.passphrase import passphrase_source

    revoke(fingerprint, reason, marketplace, key=key, passphrase=passphrase_source(passphrase_file))
    if as_json:
        print(json.dumps({"fingerprint": fingerprint, "revoked": reason}))
    else:
        print(f"revoked: {fingerprint}")


@marketplace_app.command()
def creator(
    file: Annotated[
        Path | None, typer.Argument(help="Public-key file to add (`tensafe keys export`).")
    ] = None,
    revoke: Annotated[str | None, typer.Option(help="Instead: revoke this fingerprint.")] = None,
    reason: Annotated[str, typer.Option(help="Why it is revoked.")] = "by the operator",
    handle: Annotated[str, typer.Option(help="Name to publish under [default: the key's].")] = "",
    folder: Annotated[Path | None, typer.Option(help="The service's folder.")] = None,
    database: Annotated[str | None, typer.Option(help="The service's database.")] = None,
) -> None:
    """For the operator: let a creator publish, or stop a key, in the service's own database."""
    from tensafe.errors import DataError, UsageError
    from tensafe.marketplace.service.catalogue import Catalogue
    from tensafe.tgsp.keys import read_public_key_document

    if (file is None) == (revoke is None):
        raise UsageError("give a public-key file to add, or --revoke FINGERPRINT")
    catalogue = Catalogue.open(_config(folder=folder, database_url=database).resolved_database_url)
    try:
        if revoke is not None:
            done = catalogue.creators.revoke(revoke, reason)
            print(f"revoked {revoke} of {done.handle}")
            return
        assert file is not None
        try:
            public = read_public_key_document(file.read_bytes(), name="")
        except OSError as error:
            raise DataError(f"{file}: {error.strerror or error}") from error
        if public.keys.ml_dsa_65 is None:
            raise DataError(f"{file}: a creator needs both keys; ask for `tensafe keys export`")
        print(f"added {catalogue.creators.add(public, handle).handle}")
    finally:
        catalogue.close()


def _config(**given: object) -> MarketConfig:
    from pydantic import ValidationError

    from tensafe.errors import UsageError
    from tensafe.marketplace.service.config import MarketConfig

    try:
        return MarketConfig.model_validate(
            MarketConfig().model_dump() | {k: v for k, v in given.items() if v is not None}
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in fault["loc"])
        raise UsageError(f"marketplace setting {name}: {fault['msg']}") from error


def _bases(files: list[Path], engine: str | None, base_model: str | None) -> list[RunningBase]:
    from tensafe.gate.running import running_base
    from tensafe.marketplace.service.bases import read_base

    if files:
        return [read_base(file) for file in files]
    from tinker_engine.connect import open_engine

    with open_engine(engine, base_model=base_model) as connection:
        return [running_base(connection)]
