"""Publishing, finding and pulling, the same for every kind of marketplace.

What leaves is verified before it goes, what arrives before it is kept. Trust is this user's own
trust store; a marketplace gives none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from tensafe.errors import DataError, KeyStoreError, MarketplaceError, UsageError, VerificationError
from tensafe.files import atomic_path
from tensafe.marketplace.places import SignWith, open_marketplace
from tensafe.marketplace.records import Listing, Order, Published, Pulled, Query, listing_of
from tensafe.tgsp.keys import KeyPair
from tensafe.tgsp.keystore import KeyStore, Passphrase, trust_path
from tensafe.tgsp.passphrase import passphrase_source
from tensafe.tgsp.reader import package_digest
from tensafe.tgsp.trust import TrustStore, load_trust
from tensafe.tgsp.verification import VERDICTS, Verification, verify_package


def publish(
    package: str | Path,
    marketplace: str | Path | None = None,
    *,
    signer: KeyPair | None = None,
    passphrase: Passphrase | None = None,
    trust: TrustStore | None = None,
) -> Published:
    """Publish a package that is intact.

    A service wants a proof that the publisher holds the key that signed the package: `signer`, or
    that key of the key store, opened with `passphrase` (default: as `tensafe keys` asks for it).

    Raises:
        VerificationError: not intact, or signed with an expired or revoked key.
        MarketplaceError: the name is another creator's, or the marketplace can't take it.
        GateRefusedError: the marketplace's load gate said no.
        KeyStoreError: the key that signed it is not here.
    """
    path = Path(package)
    place = open_marketplace(marketplace)
    verified = verify_package(path, load_trust(trust_path()) if trust is None else trust)
    if not verified.is_accepted(trusted=False):
        raise VerificationError(
            f"{path} is not published: {VERDICTS[verified.verdict]}: {verified.why}"
        )
    return place.publish(path, verified, signing_key(signer, passphrase))


def search(
    text: str = "",
    marketplace: str | Path | None = None,
    *,
    domain: str | None = None,
    base: str | None = None,
    licence: str | None = None,
    creator: str | None = None,
    min_score: float | None = None,
    max_epsilon: float | None = None,
    order: Order = "relevance",
    limit: int = 20,
) -> list[Listing]:
    """Packages whose name, description or skill document holds the words, best first.

    Raises:
        UsageError: a value is out of range.
        MarketplaceError: the marketplace can't be searched.
    """
    try:
        query = Query(
            text=text,
            domain=domain,
            base=base,
            licence=licence,
            creator=creator,
            min_score=min_score,
            max_epsilon=max_epsilon,
            order=order,
            limit=limit,
        )
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise UsageError(f"{place}: {fault['msg']}") from error
    return open_marketplace(marketplace).search(query)


def pull(
    reference: str,
    out: str | Path | None = None,
    marketplace: str | Path | None = None,
    *,
    trusted: bool = True,
    allow_yanked: bool = False,
    trust: TrustStore | None = None,
) -> Pulled:
    """Get a package and verify it; a file is left only if all checks passed.

    The listing that comes back states what was signed, not what the marketplace said of it, but for
    its version, dates, downloads and withdrawal, which only the marketplace knows.

    `reference` is `NAME`, `NAME@VERSION`, `sha256:DIGEST` or a whole `oci://HOST/REPOSITORY:TAG`;
    `out` a folder or a file (default: NAME-VERSION.tgsp in the working folder). With
    `trusted=False` a creator whom the trust store doesn't know is accepted; broken packages and
    expired or revoked keys never are.

    Raises:
        VerificationError: not intact, not trusted, or not the package that was listed.
        MarketplaceError: there is no such package, or it was withdrawn.
        DataError: the file can't be written, or another stands there.
    """
    if reference.startswith("oci://"):
        if marketplace is not None:
            raise UsageError("an oci:// reference is whole: leave the marketplace out")
        marketplace = reference
    place = open_marketplace(marketplace)
    listing = place.find(reference)
    if listing.yanked and not allow_yanked:
        raise MarketplaceError(
            f"{listing.name}@{listing.version} was withdrawn: {listing.yanked}; take another "
            "version, or say that you want it anyway (--allow-yanked)"
        )
    target = _target(out, listing)
    trusting = load_trust(trust_path()) if trust is None else trust
    try:
        with atomic_path(target) as temporary:
            place.fetch(listing, temporary)
            if (digest := package_digest(temporary)) != listing.package_digest:
                raise VerificationError(
                    f"{place.url} gave other bytes (sha256:{digest}) than it lists for "
                    f"{listing.name}@{listing.version} (sha256:{listing.package_digest})"
                )
            verified = verify_package(temporary, trusting)
            if not verified.is_accepted(trusted=trusted):
                raise VerificationError(_refusal(listing, verified.verdict, verified.why))
            signed = _signed_listing(listing, verified, place.url)
    except OSError as error:
        raise DataError(f"{target}: {error.strerror or error}") from error
    return Pulled(target, signed, verified, place.url)


def yank(
    reference: str,
    reason: str,
    marketplace: str | Path | None = None,
    *,
    signer: KeyPair | None = None,
    passphrase: Passphrase | None = None,
) -> Listing:
    """Withdraw a version of one's own, saying why.

    Raises:
        MarketplaceError: there is no such version, or it is another creator's.
    """
    place = open_marketplace(marketplace)
    return place.yank(reference, reason, signing_key(signer, passphrase))


def signing_key(signer: KeyPair | None, passphrase: Passphrase | None) -> SignWith:
    """How to get at the key with a fingerprint: the given one, or the key store's."""

    def sign_with(fingerprint: str) -> KeyPair:
        if signer is not None:
            if signer.public.fingerprint != fingerprint:
                raise KeyStoreError(
                    f"the given key is {signer.public.fingerprint}, and {fingerprint} is needed"
                )
            return signer
        store = KeyStore()
        for public in store.identities():
            if public.fingerprint == fingerprint:
                return store.unlock(
                    public.identity.name, (passphrase or passphrase_source())(False)
                )
        raise KeyStoreError(
            f"the key {fingerprint} is not among yours (`tensafe keys list`): only its owner can "
            "publish or withdraw what it signed"
        )

    return sign_with


def _target(out: str | Path | None, listing: Listing) -> Path:
    path = Path() if out is None else Path(out)
    if path.is_dir():
        # `name` and `version` have been checked to be plain where the listing was read.
        path = path / f"{listing.name}-{listing.version}.tgsp"
    if path.exists() and package_digest(path) != listing.package_digest:
        raise DataError(f"{path} is there already and is another file: name another one")
    if not path.parent.is_dir():
        raise DataError(f"{path.parent} is not a folder: make it first")
    return path


def _signed_listing(listing: Listing, verified: Verification, url: str) -> Listing:
    """The listing made anew of the verified manifest.

    Raises:
        VerificationError: the package is sound, but another than the one that was listed.
    """
    signed = listing_of(
        verified.require(trusted=False),
        version=listing.version,
        package_digest=listing.package_digest,
        size_bytes=verified.size_bytes,
        published=listing.published,
    )
    told, found = (listing.name, listing.fingerprint), (signed.name, signed.fingerprint)
    if told != found:
        raise VerificationError(
            f"{url} lists {told[0]}@{listing.version} by the key {told[1]} and gave {found[0]} by "
            f"the key {found[1]}: not kept"
        )
    return replace(signed, downloads=listing.downloads, yanked=listing.yanked)


def _refusal(listing: Listing, verdict: str, why: str) -> str:
    what = f"{listing.name}@{listing.version} was not kept"
    if verdict != "untrusted":
        return f"{what}: {why}"
    return (
        f"{what}: it is intact, but its creator's key {listing.fingerprint} is not in your trust "
        "store. Get their public-key file from them, not from the marketplace, and run `tensafe "
        "keys trust FILE`; or accept any creator this once (--allow-untrusted)"
    )
