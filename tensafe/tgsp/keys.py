"""Signing keys: an Ed25519 and an ML-DSA-65 key pair that always sign together.

Owns key material in memory, its fingerprint, and the public-key file in which identities are
exchanged. Where keys lie on disk is `keystore.py`, whom to believe is `trust.py`.
A fingerprint is the lower-case hex SHA-256 of the raw 32-byte Ed25519 public key.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tensafe.errors import KeyStoreError
from tensafe.tgsp.canonical import JSONFormError, canonical_json, parse, sha256_hex

ED25519_KEY_BYTES = 32
ED25519_SIGNATURE_BYTES = 64
ML_DSA_65_KEY_BYTES = 1952
ML_DSA_65_SIGNATURE_BYTES = 3309
SEED_BYTES = 32
PUBLIC_FILE_FORMAT = "tensafe-public-key"


@dataclass(frozen=True)
class PublicKeys:
    """Raw public keys; `ml_dsa_65` is None for creators whose tools sign with Ed25519 alone."""

    ed25519: bytes
    ml_dsa_65: bytes | None

    def __post_init__(self) -> None:
        if len(self.ed25519) != ED25519_KEY_BYTES:
            raise KeyStoreError(f"an Ed25519 public key has {ED25519_KEY_BYTES} bytes")
        if self.ml_dsa_65 is not None and len(self.ml_dsa_65) != ML_DSA_65_KEY_BYTES:
            raise KeyStoreError(f"an ML-DSA-65 public key has {ML_DSA_65_KEY_BYTES} bytes")

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the raw Ed25519 public key."""
        return sha256_hex(self.ed25519)


@dataclass(frozen=True)
class Identity:
    """Who a key pair belongs to, as its owner states it."""

    name: str
    email: str
    organization: str = ""

    def __str__(self) -> str:
        """What was stated of name, organization and mail address, on one line."""
        parts = [self.name, self.organization, f"<{self.email}>" if self.email else ""]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class PublicIdentity:
    """An identity with its public keys; `created` is ISO 8601 in UTC."""

    identity: Identity
    keys: PublicKeys
    created: str

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the raw Ed25519 public key."""
        return self.keys.fingerprint


class Signer(Protocol):
    """Something that signs packages in one identity's name.

    Both methods return raw signature bytes over exactly the given message (64 and 3,309 bytes).
    Ed25519 is deterministic; ML-DSA-65 may be hedged, so two signatures of one message differ.
    """

    @property
    def public(self) -> PublicIdentity:
        """Whose signatures these are."""
        ...

    def sign_ed25519(self, message: bytes) -> bytes:
        """Ed25519 signature (RFC 8032)."""
        ...

    def sign_ml_dsa_65(self, message: bytes) -> bytes:
        """Pure ML-DSA-65 signature with an empty context (FIPS 204)."""
        ...


class KeyPair:
    """Both private keys in memory: a `Signer`. Rebuilt exactly from two 32-byte seeds."""

    def __init__(
        self, identity: Identity, *, ed25519_seed: bytes, ml_dsa_65_seed: bytes, created: str
    ) -> None:
        """Derive both key pairs from their seeds."""
        self._seeds = ed25519_seed + ml_dsa_65_seed
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(ed25519_seed)
        self._ml_dsa_65 = MLDSA65PrivateKey.from_seed_bytes(ml_dsa_65_seed)
        keys = PublicKeys(
            self._ed25519.public_key().public_bytes_raw(),
            self._ml_dsa_65.public_key().public_bytes_raw(),
        )
        self._public = PublicIdentity(identity, keys, created)

    @classmethod
    def generate(cls, identity: Identity) -> KeyPair:
        """A new pair from the operating system's random source."""
        return cls(
            identity,
            ed25519_seed=os.urandom(SEED_BYTES),
            ml_dsa_65_seed=os.urandom(SEED_BYTES),
            created=now(),
        )

    def __repr__(self) -> str:
        return f"KeyPair({self._public.identity.name!r}, {self._public.fingerprint})"

    @property
    def public(self) -> PublicIdentity:
        """Whose signatures these are."""
        return self._public

    @property
    def identity(self) -> Identity:
        """Who the pair belongs to."""
        return self._public.identity

    @property
    def seeds(self) -> bytes:
        """The 64 secret bytes: Ed25519 seed, then ML-DSA-65 seed. For the key store alone."""
        return self._seeds

    def sign_ed25519(self, message: bytes) -> bytes:
        """Ed25519 signature (RFC 8032)."""
        return self._ed25519.sign(message)

    def sign_ml_dsa_65(self, message: bytes) -> bytes:
        """Pure ML-DSA-65 signature with an empty context (FIPS 204), hedged."""
        return self._ml_dsa_65.sign(message)


def verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """True only for a valid signature; malformed keys and signatures are False."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def verify_ml_dsa_65(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """True only for a valid signature; malformed keys and signatures are False."""
    try:
        MLDSA65PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def now() -> str:
    """The present moment, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encode64(data: bytes) -> str:
    """Canonical base64."""
    return base64.b64encode(data).decode("ascii")


def decode64(text: str) -> bytes:
    """Decode base64, refusing every spelling but the canonical one.

    Unused bits at the end make up to 15 other spellings decode to the same bytes.

    Raises:
        ValueError: not base64, or not its canonical encoding.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if encode64(data) != text:
        raise ValueError("base64 is not in its canonical encoding")
    return data


def public_key_document(signer: Signer) -> bytes:
    """The public-key file of an identity, with both keys' proof that they belong together."""
    document = _unproven(signer.public)
    message = canonical_json(document)
    proof = {
        "ed25519": encode64(signer.sign_ed25519(message)),
        "ml_dsa_65": encode64(signer.sign_ml_dsa_65(message)),
    }
    return canonical_json({**document, "proof": proof}) + b"\n"


def read_public_key_document(data: bytes, *, name: str = "") -> PublicIdentity:
    """Read a public-key file, or a PEM Ed25519 public key (then `name` says whose it is).

    A PEM key gives an identity without ML-DSA-65: enough to check packages from elsewhere as
    "intact, Ed25519 only", never enough for trust.

    Raises:
        KeyStoreError: neither kind of file, or its two proofs do not verify.
    """
    if data.startswith(b"-----BEGIN PUBLIC KEY-----"):
        return _from_pem(data, name)
    try:
        document = parse(data, max_bytes=64 * 1024)
        public = _from_document(document)
        proof = cast("dict[str, str]", document["proof"])
        message = canonical_json({key: document[key] for key in document if key != "proof"})
        proven = verify_ed25519(public.keys.ed25519, decode64(proof["ed25519"]), message)
        proven = proven and public.keys.ml_dsa_65 is not None
        proven = proven and verify_ml_dsa_65(
            cast("bytes", public.keys.ml_dsa_65), decode64(proof["ml_dsa_65"]), message
        )
    except (JSONFormError, KeyError, TypeError, ValueError) as error:
        raise KeyStoreError(
            f"not a public-key file ({error}); ask its owner for the output of "
            "`tensafe keys export NAME`"
        ) from error
    if not proven:
        raise KeyStoreError("the public-key file was changed: its own signatures don't verify")
    return public


def _unproven(public: PublicIdentity) -> dict[str, object]:
    return {
        "format": PUBLIC_FILE_FORMAT,
        "version": 1,
        "name": public.identity.name,
        "email": public.identity.email,
        "organization": public.identity.organization,
        "created": public.created,
        "fingerprint": public.fingerprint,
        **public_keys_fields(public.keys),
    }


def public_keys_fields(keys: PublicKeys) -> dict[str, object]:
    """Both public keys in base64, as every file of this project spells them."""
    return {
        "ed25519_public_key": encode64(keys.ed25519),
        "ml_dsa_65_public_key": None if keys.ml_dsa_65 is None else encode64(keys.ml_dsa_65),
    }


def public_keys_from(fields: dict[str, object]) -> PublicKeys:
    """The inverse of `public_keys_fields`.

    Raises:
        KeyError, ValueError, KeyStoreError: a key is missing or malformed.
    """
    ml_dsa_65 = fields["ml_dsa_65_public_key"]
    return PublicKeys(
        decode64(str(fields["ed25519_public_key"])),
        None if ml_dsa_65 is None else decode64(str(ml_dsa_65)),
    )


def _from_document(document: dict[str, object]) -> PublicIdentity:
    if document.get("format") != PUBLIC_FILE_FORMAT or document.get("version") != 1:
        raise ValueError(f"expected format {PUBLIC_FILE_FORMAT!r}, version 1")
    keys = public_keys_from(document)
    if document["fingerprint"] != keys.fingerprint:
        raise ValueError("fingerprint does not belong to the key")
    identity = Identity(
        str(document["name"]), str(document["email"]), str(document["organization"])
    )
    return PublicIdentity(identity, keys, str(document["created"]))


def _from_pem(data: bytes, name: str) -> PublicIdentity:
    try:
        key = load_pem_public_key(data)
    except ValueError as error:
        raise KeyStoreError(f"not a readable PEM public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyStoreError("the PEM file holds another kind of key: expected Ed25519")
    if not name:
        raise KeyStoreError("a PEM key says not whose it is: give its owner's name with --name")
    return PublicIdentity(Identity(name, ""), PublicKeys(key.public_bytes_raw(), None), now())
