"""The trust store: which creators' signatures this user believes.

Owns one JSON file that maps fingerprints to creators with both their public keys. Trust never
comes from a package: a key that isn't here is untrusted however valid its signatures are. A
revoked entry stays for ever, so that the key can't slip back in. The file is refused when others
could have written to it, and edits are atomic and locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, cast

from tensafe.errors import KeyStoreError
from tensafe.files import locked, private_folder, read_private, write_private
from tensafe.tgsp.canonical import JSONFormError, parse, reference_json
from tensafe.tgsp.keys import (
    Identity,
    PublicIdentity,
    PublicKeys,
    now,
    public_keys_fields,
    public_keys_from,
)

TRUST_FILE_FORMAT = "tensafe-trust-store"
TrustState = Literal["trusted", "untrusted", "expired", "revoked"]


@dataclass(frozen=True)
class TrustedCreator:
    """One entry: times are ISO 8601 in UTC; `revoked` is when, `reason` why."""

    public: PublicIdentity
    added: str
    expires: str | None = None
    revoked: str | None = None
    reason: str = ""

    def state(self, at: datetime) -> TrustState:
        """What the entry is worth at a moment (timezone-aware)."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and end_of(self.expires) <= at:
            return "expired"
        return "trusted"


@dataclass(frozen=True)
class TrustStore:
    """An immutable snapshot of the file; editing functions below give a new one."""

    creators: dict[str, TrustedCreator]

    def __iter__(self) -> Iterator[TrustedCreator]:
        """All entries, by name, then fingerprint."""
        entries = self.creators.values()
        return iter(sorted(entries, key=lambda c: (c.public.identity.name, c.public.fingerprint)))

    def find(self, fingerprint: str) -> TrustedCreator | None:
        """The entry with this fingerprint, whatever its state."""
        return self.creators.get(fingerprint)


NOBODY = TrustStore({})


def load_trust(path: Path) -> TrustStore:
    """Read the store; an absent file trusts nobody.

    Raises:
        KeyStoreError: the file is malformed, or others may write to it.
    """
    try:
        data = read_private(path, forbidden=0o022)
    except FileNotFoundError:
        return NOBODY
    try:
        document = parse(data)
        if document.get("format") != TRUST_FILE_FORMAT or document.get("version") != 1:
            raise ValueError(f"expected format {TRUST_FILE_FORMAT!r}, version 1")
        entries = cast("dict[str, dict[str, object]]", document["creators"])
        return TrustStore({key: _read_entry(key, entry) for key, entry in entries.items()})
    except (AttributeError, JSONFormError, KeyError, TypeError, ValueError) as error:
        raise KeyStoreError(
            f"{path} is not a readable trust store ({error}); restore it, or move it away and "
            "trust your creators again with `tensafe keys trust FILE`"
        ) from error


def trust(
    path: Path,
    public: PublicIdentity,
    *,
    expires: str | None = None,
    reinstate: bool = False,
) -> TrustStore:
    """Add a creator, or renew one with the same keys.

    Raises:
        KeyStoreError: the fingerprint is revoked (and `reinstate` isn't given), or stands there
            with another ML-DSA-65 key.
    """
    if expires is not None:
        end_of(expires)

    def add(store: TrustStore) -> TrustStore:
        known = store.find(public.fingerprint)
        if known is not None and known.revoked is not None and not reinstate:
            raise KeyStoreError(
                f"{public.fingerprint} was revoked at {known.revoked} ({known.reason}); "
                "--reinstate trusts it again"
            )
        if known is not None and known.public.keys.ml_dsa_65 not in (
            None,
            public.keys.ml_dsa_65,
        ):
            raise KeyStoreError(
                f"{public.fingerprint} is known with another ML-DSA-65 key: one of the two files "
                "is not its owner's"
            )
        entry = TrustedCreator(public, now(), expires)
        return TrustStore({**store.creators, public.fingerprint: entry})

    return _edit(path, add)


def revoke(path: Path, fingerprint: str, *, reason: str) -> TrustStore:
    """Mark a creator's key as never to be believed again; it needn't have been trusted."""

    def mark(store: TrustStore) -> TrustStore:
        known = store.find(fingerprint)
        if known is None:
            raise KeyStoreError(f"no creator with fingerprint {fingerprint} in {path}")
        if known.revoked is not None:
            return store
        entry = replace(known, revoked=now(), reason=reason)
        return TrustStore({**store.creators, fingerprint: entry})

    return _edit(path, mark)


def expire(path: Path, fingerprint: str, *, on: str | None) -> TrustStore:
    """Set the day or moment after which an entry is believed no more; None takes it away.

    Raises:
        KeyStoreError: `on` is no date, or the entry is missing or revoked.
    """
    if on is not None:
        end_of(on)

    def mark(store: TrustStore) -> TrustStore:
        known = store.find(fingerprint)
        if known is None:
            raise KeyStoreError(f"no creator with fingerprint {fingerprint} in {path}")
        if known.revoked is not None:
            raise KeyStoreError(
                f"{fingerprint} was revoked at {known.revoked}, which no date can change"
            )
        entry = replace(known, expires=on)
        return TrustStore({**store.creators, fingerprint: entry})

    return _edit(path, mark)


def end_of(text: str) -> datetime:
    """The moment at which an expiry takes effect: the named one, or the end of the named day.

    Raises:
        KeyStoreError: neither an ISO 8601 date nor a moment.
    """
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2027-12-31"):
            moment += timedelta(days=1)
    except (OverflowError, ValueError) as error:
        raise KeyStoreError(f"{text!r} is not a date: write it as 2027-12-31") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _edit(path: Path, change: Callable[[TrustStore], TrustStore]) -> TrustStore:
    private_folder(path.parent, forbidden=0o022)
    with locked(path):
        changed = change(load_trust(path))
        document = {
            "format": TRUST_FILE_FORMAT,
            "version": 1,
            "creators": {key: _write_entry(entry) for key, entry in changed.creators.items()},
        }
        write_private(path, reference_json(document) + b"\n")
    return changed


def _write_entry(entry: TrustedCreator) -> dict[str, object]:
    identity = entry.public.identity
    return {
        "name": identity.name,
        "email": identity.email,
        "organization": identity.organization,
        "created": entry.public.created,
        "added": entry.added,
        "expires": entry.expires,
        "revoked": entry.revoked,
        "reason": entry.reason,
        **public_keys_fields(entry.public.keys),
    }


def _read_entry(fingerprint: str, fields: dict[str, object]) -> TrustedCreator:
    keys: PublicKeys = public_keys_from(fields)
    if keys.fingerprint != fingerprint:
        raise ValueError(f"the key under {fingerprint} has fingerprint {keys.fingerprint}")
    identity = Identity(str(fields["name"]), str(fields["email"]), str(fields["organization"]))
    expires, revoked = fields["expires"], fields["revoked"]
    if expires is not None:
        end_of(str(expires))
    return TrustedCreator(
        PublicIdentity(identity, keys, str(fields["created"])),
        str(fields["added"]),
        None if expires is None else str(expires),
        None if revoked is None else str(revoked),
        str(fields["reason"]),
    )
