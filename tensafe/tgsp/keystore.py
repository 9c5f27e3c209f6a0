"""Private keys on disk, encrypted, and the one way to get at a signer.

Owns the folder `$TENSAFE_HOME/keys` (mode 0700; default `~/.tensafe/keys`), one file per identity
(mode 0600). A private key is never written unencrypted: the two seeds are sealed with AES-256-GCM
under a key that scrypt derives from the passphrase, and the public half is authenticated with
them, so a swapped public key or a weakened setting fails like a wrong passphrase. The PKCS#8
encryption that `cryptography` offers derives its key with PBKDF2, which is cheap to guess at.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tensafe.errors import KeyStoreError
from tensafe.files import locked, private_folder, read_private, write_private
from tensafe.tgsp.canonical import JSONFormError, canonical_json, parse
from tensafe.tgsp.keys import (
    SEED_BYTES,
    Identity,
    KeyPair,
    PublicIdentity,
    decode64,
    encode64,
    public_keys_fields,
    public_keys_from,
)
from tensafe.tgsp.trust import load_trust, trust

KEY_FILE_FORMAT = "tensafe-key"
DEFAULT_NAME = "creator"
# 64 MiB and about 0.2 s per guess (RFC 7914; OWASP asks for at least n = 2^17 with r = 8 or
# n = 2^16 with p = 2).
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**16, 8, 2
_MAX_SCRYPT_N = 2**20

Passphrase = Callable[[bool], str]
"""Asked for a passphrase only when one is needed; True means that a new key is being made."""


def tensafe_home() -> Path:
    """The folder of keys and trust store: `TENSAFE_HOME`, else `~/.tensafe`."""
    named = os.environ.get("TENSAFE_HOME")
    return Path(named).expanduser() if named else Path.home() / ".tensafe"


def trust_path(home: Path | None = None) -> Path:
    """Where the trust store of a key folder lies."""
    return (home or tensafe_home()) / "trust.json"


class KeyStore:
    """The identities under one home folder."""

    def __init__(self, home: Path | None = None) -> None:
        """Open the store; the folder is made when the first key is."""
        self.home = home or tensafe_home()
        self._folder = self.home / "keys"

    def identities(self) -> list[PublicIdentity]:
        """The public half of every key, by name.

        Raises:
            KeyStoreError: a key file is open to others or malformed.
        """
        if not self._folder.is_dir():
            return []
        private_folder(self._folder)
        return [_public(_document(path)) for path in sorted(self._folder.glob("*.json"))]

    def has(self, name: str) -> bool:
        """Whether there is a key of this name."""
        return self._path(name).exists()

    def create(self, identity: Identity, passphrase: str) -> KeyPair:
        """Make a key pair, store it encrypted, and trust it in this home's trust store.

        Raises:
            KeyStoreError: the name is taken or unusable, or the passphrase is too short.
        """
        require_passphrase(passphrase)
        require_printable(identity)
        private_folder(self.home, forbidden=0o022)
        private_folder(self._folder)
        path = self._path(identity.name)
        pair = KeyPair.generate(identity)
        sealed = _seal(pair, passphrase)
        with locked(self._folder / "keys"):
            if path.exists():
                raise KeyStoreError(f"there is a key named {path.stem} already: {path}")
            write_private(path, sealed)
        trust(trust_path(self.home), pair.public)
        return pair

    def rotate(self, name: str, passphrase: str) -> tuple[PublicIdentity, KeyPair]:
        """Put a new key pair in the place of a key; gives the old public half and the new pair.

        The old file is kept under `keys/retired`, where nothing but a hand-over at a marketplace is
        signed with it. The old key's entry in the trust store stays as it is, so what it signed
        stays verified.

        Raises:
            KeyStoreError: no such key, or the passphrase is too short.
        """
        require_passphrase(passphrase)
        self._read(name)
        path, retired = self._path(name), private_folder(self._folder / "retired")
        with locked(self._folder / "keys"):
            # Read under the lock: of two rotations at once, the later retires the earlier's key.
            document = self._read(name)
            old = _public(document)
            pair = KeyPair.generate(old.identity)
            sealed = _seal(pair, passphrase)
            kept = retired / f"{path.stem}-{old.fingerprint[:16]}.json"
            write_private(kept, canonical_json(document) + b"\n")
            write_private(path, sealed)
        trust(trust_path(self.home), pair.public)
        return old, pair

    def retired(self) -> list[PublicIdentity]:
        """The public half of every key that was rotated away, by name."""
        return [_public(_document(path)) for path in self._retired()]

    def unlock_retired(self, fingerprint: str, passphrase: str) -> KeyPair:
        """Decrypt a key that was rotated away, for handing over to its successor alone.

        Unlike `unlock` it asks no trust store: a stolen key has to hand over as well.

        Raises:
            KeyStoreError: no such key, wrong passphrase, file changed or open to others.
        """
        for path in self._retired():
            document = _document(path)
            if _public(document).fingerprint == fingerprint:
                return _open(document, passphrase, path.stem)
        raise KeyStoreError(f"no key {fingerprint} was rotated away in {self._folder}")

    def _retired(self) -> list[Path]:
        folder = self._folder / "retired"
        return sorted(private_folder(folder).glob("*.json")) if folder.is_dir() else []

    def public(self, name: str) -> PublicIdentity:
        """The public half of a key, for which no passphrase is needed."""
        return _public(self._read(name))

    def unlock(self, name: str, passphrase: str) -> KeyPair:
        """Decrypt a key for signing.

        Raises:
            KeyStoreError: no such key, wrong passphrase, file changed or open to others, or the
                key is revoked or expired in this home's trust store.
        """
        pair = _open(self._read(name), passphrase, name)
        entry = load_trust(trust_path(self.home)).find(pair.public.fingerprint)
        if entry is not None and (state := entry.state(datetime.now(UTC))) != "trusted":
            raise KeyStoreError(f"key {name} is {state}: make a new one with `tensafe keys new`")
        return pair

    def _read(self, name: str) -> dict[str, object]:
        path = self._path(name)
        if not path.exists():
            known = ", ".join(p.identity.name for p in self.identities()) or "none"
            raise KeyStoreError(
                f"no key named {name} in {self._folder} (there: {known}); "
                f"make one with `tensafe keys new {name}`"
            )
        private_folder(self._folder)
        return _document(path)

    def _path(self, name: str) -> Path:
        return self._folder / f"{file_stem(name)}.json"


def ensure_signing_key(
    name: str | None = None,
    *,
    passphrase: Passphrase,
    email: str = "",
    organization: str = "",
    home: Path | None = None,
) -> KeyPair:
    """The named identity's signer, made on first use; without a name, the only one there is.

    Call it before long work starts: a missing passphrase should not be found out at its end.

    Raises:
        KeyStoreError: several keys and no name, or as `KeyStore.create` and `KeyStore.unlock`.
    """
    store = KeyStore(home)
    if name is None:
        known = [public.identity.name for public in store.identities()]
        if len(known) > 1:
            raise KeyStoreError(
                f"several signing keys ({', '.join(known)}): name one (--creator or --key)"
            )
        name = known[0] if known else DEFAULT_NAME
    if store.has(name):
        return store.unlock(name, passphrase(False))
    return store.create(Identity(name, email, organization), passphrase(True))


def file_stem(name: str) -> str:
    """A name as a file name: ASCII lower case, digits, dots and hyphens.

    Raises:
        KeyStoreError: nothing usable is left of it.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")
    if not stem or len(stem) > 64:
        raise KeyStoreError(f"{name!r} can't name a key: use 1 to 64 letters, digits and hyphens")
    return stem


def require_passphrase(passphrase: str) -> None:
    """Refuse a passphrase that wouldn't protect anything.

    Raises:
        KeyStoreError: shorter than 8 characters.
    """
    if len(passphrase) < 8:
        raise KeyStoreError("the passphrase is shorter than 8 characters: no key is stored with it")


def require_printable(identity: Identity) -> None:
    """Refuse names that would make a terminal or a manifest lie.

    Raises:
        KeyStoreError: control characters, or more than 200 characters.
    """
    for what, text in (
        ("name", identity.name),
        ("email", identity.email),
        ("organization", identity.organization),
    ):
        if len(text) > 200 or not text.isprintable():
            raise KeyStoreError(f"{what} {text[:40]!r} is too long or holds control characters")


def _document(path: Path) -> dict[str, object]:
    try:
        document = parse(read_private(path))
        if document.get("format") != KEY_FILE_FORMAT or document.get("version") != 1:
            raise ValueError(f"expected format {KEY_FILE_FORMAT!r}, version 1")
    except (FileNotFoundError, JSONFormError, ValueError) as error:
        raise KeyStoreError(f"{path} is not a readable key file: {error}") from error
    return document


def _public(document: dict[str, object]) -> PublicIdentity:
    try:
        identity = Identity(
            str(document["name"]), str(document["email"]), str(document["organization"])
        )
        return PublicIdentity(identity, public_keys_from(document), str(document["created"]))
    except (KeyError, ValueError) as error:
        raise KeyStoreError(f"malformed key file: {error}") from error


def _seal(pair: KeyPair, passphrase: str) -> bytes:
    salt, nonce = os.urandom(16), os.urandom(12)
    public = pair.public
    head: dict[str, object] = {
        "format": KEY_FILE_FORMAT,
        "version": 1,
        "name": public.identity.name,
        "email": public.identity.email,
        "organization": public.identity.organization,
        "created": public.created,
        "fingerprint": public.fingerprint,
        **public_keys_fields(public.keys),
        "kdf": {"name": "scrypt", "n": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P},
        "salt": encode64(salt),
        "nonce": encode64(nonce),
    }
    key = _derive(passphrase, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    ciphertext = AESGCM(key).encrypt(nonce, pair.seeds, canonical_json(head))
    return canonical_json({**head, "sealed": encode64(ciphertext)}) + b"\n"


def _open(document: dict[str, object], passphrase: str, name: str) -> KeyPair:
    public = _public(document)
    try:
        kdf = cast("dict[str, int]", document["kdf"])
        n, r, p = int(kdf["n"]), int(kdf["r"]), int(kdf["p"])
        # A hostile file must not make us allocate without bound, nor derive a weak key.
        if not (2**14 <= n <= _MAX_SCRYPT_N and 8 <= r <= 16 and 1 <= p <= 16):
            raise ValueError("scrypt settings out of range")
        salt, nonce = decode64(str(document["salt"])), decode64(str(document["nonce"]))
        sealed = decode64(str(document["sealed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise KeyStoreError(f"the file of key {name} is malformed: {error}") from error
    head = {field: value for field, value in document.items() if field != "sealed"}
    try:
        seeds = AESGCM(_derive(passphrase, salt, n, r, p)).decrypt(
            nonce, sealed, canonical_json(head)
        )
    except (InvalidTag, ValueError) as error:
        raise KeyStoreError(f"wrong passphrase for key {name}, or its file was changed") from error
    return KeyPair(
        public.identity,
        ed25519_seed=seeds[:SEED_BYTES],
        ml_dsa_65_seed=seeds[SEED_BYTES:],
        created=public.created,
    )


def _derive(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8")
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(text)
