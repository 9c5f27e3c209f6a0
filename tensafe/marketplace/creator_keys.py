"""A creator's keys at a marketplace service: a further one publishes, or one never does again.

The service knows a creator by their keys. A new key, such as that of `tensafe keys rotate`, joins
them when one that is known there and the new one both sign.
"""

from __future__ import annotations

from pathlib import Path

from tensafe.errors import KeyStoreError, UsageError
from tensafe.marketplace.client import Registered, ServiceMarketplace
from tensafe.marketplace.places import open_marketplace
from tensafe.tgsp.keys import KeyPair
from tensafe.tgsp.keystore import KeyStore, Passphrase


def add_key(
    key: str | None = None,
    marketplace: str | Path | None = None,
    *,
    known: str = "",
    passphrase: Passphrase,
    known_passphrase: Passphrase | None = None,
) -> Registered:
    """Let an own key publish for the creator that another own key is registered for.

    Args:
        key: name of the new key; None where there is one alone.
        marketplace: the service, as for `publish`.
        known: the registered key: the name of one, or the fingerprint of one that was rotated
            away. Empty: the one that `key` took the place of.
        passphrase: of the new key.
        known_passphrase: of the registered one; None: the same.

    Raises:
        KeyStoreError: one of both is not here, or can't be opened.
        MarketplaceError: the service doesn't know the one, or knows the other.
    """
    place, store = _service(marketplace), KeyStore()
    name = _own(store, key)
    before = _registered(store, name, known, known_passphrase or passphrase)
    return place.add_key(before, store.unlock(name, passphrase(False)))


def revoke_key(
    fingerprint: str,
    reason: str,
    marketplace: str | Path | None = None,
    *,
    key: str | None = None,
    passphrase: Passphrase,
) -> None:
    """Never let a key of one's own publish at a service again.

    `key` signs that: another one of the same creator, or the very key.

    Raises:
        KeyStoreError: `key` is not here, or can't be opened.
        MarketplaceError: the service knows no such key of this creator.
    """
    place, store = _service(marketplace), KeyStore()
    place.revoke_key(store.unlock(_own(store, key), passphrase(False)), fingerprint, reason)


def _service(marketplace: str | Path | None) -> ServiceMarketplace:
    place = open_marketplace(marketplace)
    if not isinstance(place, ServiceMarketplace):
        raise UsageError(f"{place.url} knows no creators: only a service (https://…) does")
    return place


def _own(store: KeyStore, key: str | None) -> str:
    names = [public.identity.name for public in store.identities()]
    if key is None and len(names) != 1:
        raise KeyStoreError(f"name one of your keys with --key ({', '.join(names) or 'none here'})")
    return key or names[0]


def _registered(store: KeyStore, name: str, known: str, passphrase: Passphrase) -> KeyPair:
    if known and store.has(known):
        return store.unlock(known, passphrase(False))
    retired = [
        public.fingerprint
        for public in store.retired()
        if public.fingerprint == known or (not known and public.identity.name == name)
    ]
    if len(retired) != 1:
        found = ", ".join(retired) or "none is here"
        raise KeyStoreError(
            f"which key of yours is registered there already? Give its name or fingerprint with "
            f"--known ({found if not known else f'{known!r} is not among yours'})"
        )
    return store.unlock_retired(retired[0], passphrase(False))
