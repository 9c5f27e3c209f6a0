"""`tensafe keys`: make signing keys, exchange public ones, say whom to believe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tensafe.tgsp.trust import TrustedCreator, TrustStore

PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File with the passphrase, mode 0600 [else TENSAFE_KEY_PASSPHRASE, or ask]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")]

keys_app = typer.Typer(
    help="Signing keys and trusted creators (in TENSAFE_HOME, default ~/.tensafe).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(keys_app, name="keys")


@keys_app.command()
def new(
    name: Annotated[str, typer.Argument(help="Your name as it will stand in packages.")],
    email: Annotated[str, typer.Option(help="Written into packages.")] = "",
    organization: Annotated[str, typer.Option(help="Written into packages.")] = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an Ed25519 and ML-DSA-65 key pair, encrypted on disk, and trust it here."""
    from tensafe.tgsp.keys import Identity
    from tensafe.tgsp.keystore import KeyStore
    from tensafe.tgsp.passphrase import passphrase_source

    store = KeyStore()
    passphrase = passphrase_source(passphrase_file)(True)
    pair = store.create(Identity(name, email, organization), passphrase)
    fingerprint = pair.public.fingerprint
    if as_json:
        print(json.dumps({"name": name, "fingerprint": fingerprint, "home": str(store.home)}))
        return
    print(f"made key {name}\nfingerprint {fingerprint}\nin {store.home}")
    print(
        "Keep the passphrase: without it the key can't sign. Others need the output of "
        f"`tensafe keys export {name!r}` to trust your packages.",
        file=sys.stderr,
    )


@keys_app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show your own keys and the creators you trust."""
    from tensafe.tgsp.keystore import KeyStore, trust_path
    from tensafe.tgsp.trust import TrustedCreator, load_trust

    own = {public.fingerprint: public for public in KeyStore().identities()}
    store = load_trust(trust_path())
    rows = [_row(entry, is_own=entry.public.fingerprint in own) for entry in store]
    # A key whose entry was lost with the trust store still signs, so it still has to be seen.
    strays = [TrustedCreator(own[key], "") for key in own if store.find(key) is None]
    rows += [{**_row(stray, is_own=True), "state": "untrusted"} for stray in strays]
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        _print_rows(rows)
    else:
        print("no keys yet: make one with `tensafe keys new NAME`", file=sys.stderr)


@keys_app.command()
def export(
    name: Annotated[str, typer.Argument(help="One of your own keys.")],
    out: Annotated[Path | None, typer.Option(help="File to write [default: stdout].")] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write your public-key file, signed by both keys, for people who should trust you."""
    from tensafe.errors import DataError
    from tensafe.files import atomic_path
    from tensafe.tgsp.keys import public_key_document
    from tensafe.tgsp.keystore import KeyStore
    from tensafe.tgsp.passphrase import passphrase_source

    store = KeyStore()
    store.public(name)
    document = public_key_document(store.unlock(name, passphrase_source(passphrase_file)(False)))
    if out is None:
        print(document.decode("ascii"), end="")
        return
    try:
        with atomic_path(out) as temporary:
            temporary.write_bytes(document)
    except OSError as error:
        raise DataError(f"{out}: {error.strerror}") from error


@keys_app.command()
def trust(
    file: Annotated[
        Path, typer.Argument(help="Public-key file (or PEM Ed25519 key).", exists=True)
    ],
    fingerprint: Annotated[
        str | None, typer.Option(help="The fingerprint their owner told you; must match.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Last day of trust, 2027-12-31.")] = None,
    name: Annotated[str, typer.Option(help="Whose key it is, for a PEM file.")] = "",
    reinstate: Annotated[
        bool, typer.Option("--reinstate", help="Trust a revoked key again.")
    ] = False,
) -> None:
    """Believe a creator's signatures from now on."""
    from tensafe.errors import KeyStoreError
    from tensafe.tgsp.keys import read_public_key_document
    from tensafe.tgsp.keystore import require_printable, trust_path
    from tensafe.tgsp.trust import trust as add

    public = read_public_key_document(file.read_bytes(), name=name)
    require_printable(public.identity)
    if fingerprint is not None and fingerprint.lower().replace(" ", "") != public.fingerprint:
        raise KeyStoreError(f"{file} holds the key {public.fingerprint}, not the one you named")
    add(trust_path(), public, expires=expires, reinstate=reinstate)
    print(f"trusted {public.identity.name} <{public.identity.email}>\n{public.fingerprint}")
    if fingerprint is None:
        print("Compare the fingerprint with its owner over another channel.", file=sys.stderr)
    if public.keys.ml_dsa_65 is None:
        print(
            "There is no ML-DSA-65 key in the file: their packages stay 'intact, Ed25519 only'.",
            file=sys.stderr,
        )


@keys_app.command()
def revoke(
    who: Annotated[str, typer.Argument(help="Name, fingerprint, or its first 8+ digits.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "revoked by the user",
) -> None:
    """Never again believe a creator's signatures (your own key signs no more, too)."""
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.trust import load_trust
    from tensafe.tgsp.trust import revoke as mark

    entry = _find(load_trust(trust_path()), who)
    mark(trust_path(), entry.public.fingerprint, reason=reason)
    print(f"revoked {entry.public.identity.name}\n{entry.public.fingerprint}")


@keys_app.command()
def show(
    who: Annotated[str, typer.Argument(help="Name, fingerprint, or its first 8+ digits.")],
    as_json: AsJson = False,
) -> None:
    """Show everything that is known of a key, of yours or of a creator you trust."""
    from tensafe.errors import KeyStoreError
    from tensafe.tgsp.keystore import KeyStore, trust_path
    from tensafe.tgsp.trust import load_trust

    own = {public.fingerprint for public in KeyStore().identities()}
    entries = _matching(load_trust(trust_path()), who)
    if not entries:
        raise KeyStoreError(f"{who!r} names no creator in the trust store: see `tensafe keys list`")
    rows = [_row(entry, is_own=entry.public.fingerprint in own) for entry in entries]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for place, row in enumerate(rows):
        if place:
            print()
        for field, value in row.items():
            shown = ("yes" if value else "no") if isinstance(value, bool) else (value or "-")
            print(f"{field.replace('_', '-'):<13} {shown}")


@keys_app.command()
def expire(
    who: Annotated[str, typer.Argument(help="Name, fingerprint, or its first 8+ digits.")],
    on: Annotated[str | None, typer.Option(help="Last day of trust, 2027-12-31.")] = None,
    never: Annotated[bool, typer.Option("--never", help="Take the last day away.")] = False,
) -> None:
    """Set the last day on which a key is believed (your own signs no more after it, too)."""
    from tensafe.errors import UsageError
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.trust import expire as mark
    from tensafe.tgsp.trust import load_trust

    if (on is None) is not never:
        raise UsageError("give one of --on 2027-12-31 and --never")
    entry = _find(load_trust(trust_path()), who)
    mark(trust_path(), entry.public.fingerprint, on=on)
    until = "does not expire" if on is None else f"is believed to the end of {on}"
    print(f"{entry.public.identity.name} {until}\n{entry.public.fingerprint}")


@keys_app.command()
def rotate(
    name: Annotated[str, typer.Argument(help="One of your own keys.")],
    revoke_old: Annotated[
        bool,
        typer.Option("--revoke-old", help="The old key was stolen: believe nothing it signed."),
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a new key of the same name; the old one signs no more, and stays believed."""
    from tensafe.tgsp.keystore import KeyStore, trust_path
    from tensafe.tgsp.passphrase import passphrase_source
    from tensafe.tgsp.trust import revoke as mark

    store = KeyStore()
    store.public(name)
    old, pair = store.rotate(name, passphrase_source(passphrase_file)(True))
    if revoke_old:
        mark(trust_path(), old.fingerprint, reason="rotated: the key was no longer safe")
    made = pair.public.fingerprint
    if as_json:
        result = {"name": name, "fingerprint": made, "old": old.fingerprint, "revoked": revoke_old}
        print(json.dumps(result))
        return
    print(f"made key {name}\nfingerprint {made}")
    print(f"old key {old.fingerprint} {'revoked' if revoke_old else 'stays believed'}")
    print(
        f"Others need `tensafe keys export {name!r}` again to trust what you sign from now on; a "
        "marketplace service takes it after `tensafe marketplace keys add`.",
        file=sys.stderr,
    )


def _find(store: TrustStore, who: str) -> TrustedCreator:
    from tensafe.errors import KeyStoreError

    found = _matching(store, who)
    if len(found) != 1:
        raise KeyStoreError(
            f"{who!r} names {'several creators' if found else 'no creator'} in the trust store: "
            "give a fingerprint from `tensafe keys list`"
        )
    return found[0]


def _matching(store: TrustStore, who: str) -> list[TrustedCreator]:
    return [
        entry
        for entry in store
        if who == entry.public.identity.name
        or (len(who) >= 8 and entry.public.fingerprint.startswith(who.lower()))
    ]


def _row(entry: TrustedCreator, *, is_own: bool) -> dict[str, object]:
    from datetime import UTC, datetime

    identity = entry.public.identity
    return {
        "name": identity.name,
        "email": identity.email,
        "organization": identity.organization,
        "fingerprint": entry.public.fingerprint,
        "own": is_own,
        "state": entry.state(datetime.now(UTC)),
        "post_quantum": entry.public.keys.ml_dsa_65 is not None,
        "added": entry.added,
        "expires": entry.expires,
        "revoked": entry.revoked,
        "reason": entry.reason,
    }


def _print_rows(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1))
    for heading in ("name", "email", "state", "whose"):
        table.add_column(heading)
    table.add_column("fingerprint", overflow="fold")
    for row in rows:
        table.add_row(
            Text(str(row["name"])),
            Text(str(row["email"])),
            Text(str(row["state"]), "green" if row["state"] == "trusted" else "red"),
            "own" if row["own"] else "other",
            str(row["fingerprint"]),
        )
    Console(highlight=False, markup=False).print(table)
