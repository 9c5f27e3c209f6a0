"""Keys: signatures against an independent implementation, files on disk, the trust store."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sample_package import CREATOR, key_pair

from tensafe.errors import KeyStoreError
from tensafe.tgsp import KeyStore, ensure_signing_key, load_trust, passphrase_source, trust_path
from tensafe.tgsp.canonical import sha256_hex
from tensafe.tgsp.keys import (
    Identity,
    KeyPair,
    decode64,
    encode64,
    public_key_document,
    read_public_key_document,
    verify_ed25519,
    verify_ml_dsa_65,
)
from tensafe.tgsp.trust import end_of, revoke, trust

PASSPHRASE = "correct horse battery"


def test_ml_dsa_65_agrees_with_an_independent_implementation_both_ways() -> None:
    oracle = pytest.importorskip("dilithium_py.ml_dsa").ML_DSA_65
    seed = bytes(range(32))
    pair = KeyPair(CREATOR, ed25519_seed=seed, ml_dsa_65_seed=seed, created="")
    ours = pair.public.keys.ml_dsa_65
    assert ours is not None
    theirs, secret = oracle.key_derive(seed)
    assert ours == theirs
    message = b"the same message"
    assert oracle.verify(ours, message, pair.sign_ml_dsa_65(message))
    assert not oracle.verify(ours, b"another", pair.sign_ml_dsa_65(message))
    signature = oracle.sign(secret, message)
    assert verify_ml_dsa_65(ours, signature, message)
    assert not verify_ml_dsa_65(ours, signature, b"another")
    assert not verify_ml_dsa_65(ours, signature[:-1] + bytes([signature[-1] ^ 1]), message)
    assert not verify_ml_dsa_65(ours, oracle.sign(secret, message, ctx=b"other use"), message)


def test_ed25519_agrees_with_rfc_8032() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    pair = KeyPair(CREATOR, ed25519_seed=seed, ml_dsa_65_seed=seed, created="")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert pair.public.keys.ed25519.hex() == public
    assert pair.public.fingerprint == sha256_hex(bytes.fromhex(public))
    signature = pair.sign_ed25519(b"")
    assert signature.hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065")
    assert verify_ed25519(pair.public.keys.ed25519, signature, b"")
    # s + L is the other spelling of the same signature.
    order = 2**252 + 27742317777372353535851937790883648493
    other = int.from_bytes(signature[32:], "little") + order
    twin = signature[:32] + other.to_bytes(32, "little")
    assert not verify_ed25519(pair.public.keys.ed25519, twin, b"")


def test_malformed_keys_and_signatures_verify_nothing() -> None:
    assert not verify_ed25519(b"", b"", b"")
    assert not verify_ml_dsa_65(b"short", b"", b"")


def test_base64_has_one_spelling() -> None:
    text = encode64(bytes(64))
    assert decode64(text) == bytes(64)
    for other in (text[:-3] + "B==", text + "\n", text.rstrip("="), " " + text, "*" + text):
        with pytest.raises(ValueError, match="base64"):
            decode64(other)


def test_a_pair_never_shows_its_secret() -> None:
    pair = key_pair()
    assert pair.seeds.hex() not in repr(pair)
    assert encode64(pair.seeds) not in public_key_document(pair).decode()


def test_public_key_files_travel_and_notice_changes() -> None:
    pair = key_pair()
    document = public_key_document(pair)
    assert read_public_key_document(document) == pair.public
    changed = document.replace(b"Ada Example", b"Eve Example")
    with pytest.raises(KeyStoreError, match="changed"):
        read_public_key_document(changed)
    for bad in (b"", b"{}", b"[]", b'{"format":"tensafe-public-key","version":1}'):
        with pytest.raises(KeyStoreError, match="keys export"):
            read_public_key_document(bad)


def test_another_creators_ml_dsa_key_cannot_be_slipped_in() -> None:
    mine, theirs = json.loads(public_key_document(key_pair(1))), key_pair(2).public.keys.ml_dsa_65
    assert theirs is not None
    mine["ml_dsa_65_public_key"] = encode64(theirs)
    with pytest.raises(KeyStoreError, match="changed"):
        read_public_key_document(json.dumps(mine).encode())


def test_pem_keys_have_no_post_quantum_half() -> None:
    pem = (
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    public = read_public_key_document(pem, name="Somebody")
    assert (public.keys.ml_dsa_65, public.identity.name) == (None, "Somebody")
    with pytest.raises(KeyStoreError, match="--name"):
        read_public_key_document(pem)


def test_a_key_is_made_once_encrypted_and_private(home: Path) -> None:
    source = passphrase_source()
    pair = ensure_signing_key("Ada", email="a@b.org", passphrase=source)
    file = home / "keys" / "ada.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    stored = file.read_bytes()
    for secret in (pair.seeds, pair.seeds[:32], pair.seeds[32:]):
        assert secret not in stored
        assert encode64(secret).rstrip("=").encode() not in stored
        assert secret.hex().encode() not in stored
    again = ensure_signing_key(passphrase=source)
    assert again.public == pair.public
    entry = load_trust(trust_path()).find(pair.public.fingerprint)
    assert entry is not None
    assert entry.public == pair.public
    with pytest.raises(KeyStoreError, match="already"):
        KeyStore().create(Identity("ADA", ""), PASSPHRASE)


def test_wrong_passphrases_and_changed_files_open_nothing(home: Path) -> None:
    store = KeyStore()
    store.create(Identity("Ada", ""), PASSPHRASE)
    with pytest.raises(KeyStoreError, match="wrong passphrase"):
        store.unlock("Ada", "correct horse batterx")
    file = home / "keys" / "ada.json"
    for field, value in (("name", "Eve"), ("email", "eve@example.org"), ("created", "x")):
        changed = {**json.loads(file.read_bytes()), field: value}
        other = home / "keys" / "eve.json"
        other.write_text(json.dumps(changed))
        other.chmod(0o600)
        with pytest.raises(KeyStoreError, match="changed"):
            store.unlock("eve", PASSPHRASE)
    weak = json.loads(file.read_bytes())
    for setting in (2, 2**24):
        weak["kdf"]["n"] = setting
        other.write_text(json.dumps(weak))
        with pytest.raises(KeyStoreError, match="malformed"):
            store.unlock("eve", PASSPHRASE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_keys_open_to_others_are_refused(home: Path, mode: int) -> None:
    store = KeyStore()
    store.create(Identity("Ada", ""), PASSPHRASE)
    (home / "keys" / "ada.json").chmod(mode)
    with pytest.raises(KeyStoreError, match="open to other users"):
        store.unlock("Ada", PASSPHRASE)
    with pytest.raises(KeyStoreError, match="open to other users"):
        store.identities()


def test_folders_open_to_others_and_links_are_refused(home: Path) -> None:
    store = KeyStore()
    store.create(Identity("Ada", ""), PASSPHRASE)
    file = home / "keys" / "ada.json"
    file.rename(home / "moved.json")
    file.symlink_to(home / "moved.json")
    with pytest.raises(KeyStoreError, match="plain file"):
        store.unlock("Ada", PASSPHRASE)
    (home / "keys").chmod(0o755)
    with pytest.raises(KeyStoreError, match="chmod 700"):
        store.unlock("Ada", PASSPHRASE)


def test_no_passphrase_means_no_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSAFE_KEY_PASSPHRASE")
    with pytest.raises(KeyStoreError, match="TENSAFE_KEY_PASSPHRASE"):
        ensure_signing_key("Ada", passphrase=passphrase_source())
    with pytest.raises(KeyStoreError, match="8 characters"):
        KeyStore().create(Identity("Ada", ""), "short")
    assert not list(home.rglob("*.json"))


def test_passphrase_files_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("from a file\n")
    file.chmod(0o600)
    assert passphrase_source(file)(True) == "from a file"
    file.chmod(0o644)
    with pytest.raises(KeyStoreError, match="open to other users"):
        passphrase_source(file)(True)
    with pytest.raises(KeyStoreError, match="no passphrase file"):
        passphrase_source(tmp_path / "absent")(True)


def test_several_keys_need_a_name(home: Path) -> None:
    store = KeyStore()
    for name in ("Ada", "Grace"):
        store.create(Identity(name, ""), PASSPHRASE)
    with pytest.raises(KeyStoreError, match="Ada, Grace"):
        ensure_signing_key(passphrase=passphrase_source())
    with pytest.raises(KeyStoreError, match="keys new"):
        store.unlock("Linus", PASSPHRASE)
    with pytest.raises(KeyStoreError, match="can't name"):
        store.create(Identity("../..", ""), PASSPHRASE)
    with pytest.raises(KeyStoreError, match="control"):
        store.create(Identity("a\x1b[31mb", ""), PASSPHRASE)


def test_revoked_keys_stay_revoked_and_sign_no_more(home: Path) -> None:
    pair = KeyStore().create(Identity("Ada", ""), PASSPHRASE)
    revoke(trust_path(), pair.public.fingerprint, reason="laptop lost")
    entry = load_trust(trust_path()).find(pair.public.fingerprint)
    assert entry is not None
    assert entry.state(datetime.now(UTC)) == "revoked"
    with pytest.raises(KeyStoreError, match="revoked"):
        KeyStore().unlock("Ada", PASSPHRASE)
    with pytest.raises(KeyStoreError, match="laptop lost"):
        trust(trust_path(), pair.public)
    trust(trust_path(), pair.public, reinstate=True)
    assert KeyStore().unlock("Ada", PASSPHRASE).public == pair.public


def test_expiry_is_the_end_of_the_named_day(home: Path) -> None:
    public = key_pair().public
    store = trust(trust_path(), public, expires="2027-12-31")
    entry = store.find(public.fingerprint)
    assert entry is not None
    assert entry.state(datetime(2027, 12, 31, 23, 59, tzinfo=UTC)) == "trusted"
    assert entry.state(datetime(2028, 1, 1, tzinfo=UTC)) == "expired"
    assert load_trust(trust_path()) == store
    with pytest.raises(KeyStoreError, match="not a date"):
        trust(trust_path(), public, expires="soon")
    assert end_of("2027-12-31T12:00:00Z") == datetime(2027, 12, 31, 12, tzinfo=UTC)


def test_a_trust_store_others_could_write_is_refused(home: Path) -> None:
    trust(trust_path(), key_pair().public)
    trust_path().chmod(0o666)
    with pytest.raises(KeyStoreError, match="open to other users"):
        load_trust(trust_path())
    trust_path().chmod(0o644)
    document = json.loads(trust_path().read_bytes())
    entry = document["creators"].popitem()[1]
    document["creators"]["0" * 64] = entry
    trust_path().write_text(json.dumps(document))
    with pytest.raises(KeyStoreError, match="fingerprint"):
        load_trust(trust_path())
    trust_path().write_text("{}")
    with pytest.raises(KeyStoreError, match="not a readable trust store"):
        load_trust(trust_path())


def test_a_known_fingerprint_keeps_its_post_quantum_key(home: Path) -> None:
    seed = bytes(32)
    first = KeyPair(CREATOR, ed25519_seed=seed, ml_dsa_65_seed=bytes([1]) * 32, created="")
    second = KeyPair(CREATOR, ed25519_seed=seed, ml_dsa_65_seed=bytes([2]) * 32, created="")
    trust(trust_path(), first.public)
    with pytest.raises(KeyStoreError, match="another ML-DSA-65 key"):
        trust(trust_path(), second.public)


def test_a_crash_while_writing_leaves_the_old_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(trust_path(), key_pair(1).public)
    before = trust_path().read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        trust(trust_path(), key_pair(2).public)
    assert trust_path().read_bytes() == before
    assert not list(home.glob("*.partial"))
