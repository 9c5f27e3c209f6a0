"""Verification: what is accepted, whom it trusts, and every way to be refused."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import Change, assemble, edited, foreign, parts, resigned
from sample_package import CREATED, CREATOR, adapter, key_pair, trusting

from tensafe.errors import DataError, VerificationError
from tensafe.tgsp import KeyPair, open_package, package_digest, verify_package
from tensafe.tgsp.canonical import canonical_json, reference_json, sha256_hex
from tensafe.tgsp.keys import PublicIdentity, PublicKeys, encode64
from tensafe.tgsp.reader import MAGIC, PackageFormatError, split_package
from tensafe.tgsp.trust import NOBODY, TrustedCreator, TrustStore
from tensafe.tgsp.verification import CHECKS, Verification, unlaid, verify

SIGNER = key_pair()
TRUSTED = trusting(SIGNER.public)


def check(data: bytes, trust: TrustStore = TRUSTED, **options: Any) -> Verification:
    try:
        return verify(split_package(data), trust, **options)
    except PackageFormatError as error:
        return unlaid(error)


def failed(result: Verification) -> set[str]:
    return {c.name for c in result.failures}


def test_a_package_of_a_trusted_creator_is_intact_and_trusted(
    package_bytes: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.tgsp"
    path.write_bytes(package_bytes)
    result = verify_package(path, TRUSTED)
    assert (result.verdict, result.is_trusted, result.failures) == ("trusted", True, ())
    assert tuple(c.name for c in result.checks) == CHECKS
    assert result.payload_hash == sha256_hex(adapter())
    assert result.require().view.creator.public_key_fingerprint == SIGNER.public.fingerprint
    assert package_digest(path) == sha256_hex(package_bytes)
    with open_package(path) as package:
        assert bytes(package.payload) == adapter()


def test_both_byte_forms_are_accepted_and_no_third(package_bytes: bytes) -> None:
    manifest, payload = parts(package_bytes)
    for data in (canonical_json(manifest), reference_json(manifest)):
        assert check(assemble(data, payload)).is_trusted
    for data in (
        json.dumps(manifest).encode(),
        json.dumps(manifest, sort_keys=True, indent=4).encode(),
        canonical_json(manifest) + b"\n",
        reference_json(manifest) + b"\n",
        b" " + canonical_json(manifest),
    ):
        assert failed(check(assemble(data, payload))) == {"canonical_form"}


def test_trust_comes_from_the_store_alone(package_bytes: bytes) -> None:
    assert check(package_bytes, NOBODY).verdict == "untrusted"
    assert check(package_bytes, NOBODY).is_intact
    others = trusting(key_pair(2).public)
    assert check(package_bytes, others).verdict == "untrusted"
    assert check(package_bytes, NOBODY, public_key=SIGNER.public.keys).verdict == "untrusted"
    with pytest.raises(VerificationError, match="untrusted"):
        check(package_bytes, NOBODY).require()
    check(package_bytes, NOBODY).require(trusted=False)


def test_revoked_and_expired_creators_are_not_trusted(package_bytes: bytes) -> None:
    revoked = trusting(SIGNER.public, revoked=CREATED, reason="stolen")
    result = check(package_bytes, revoked)
    assert result.verdict == "revoked"
    assert "stolen" in result.why
    expiring = trusting(SIGNER.public, expires="2026-06-30")
    last, next_day = datetime(2026, 6, 30, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    assert check(package_bytes, expiring, at=last).is_trusted
    assert check(package_bytes, expiring, at=next_day).verdict == "expired"
    with pytest.raises(VerificationError, match="expired"):
        check(package_bytes, expiring, at=next_day).require(trusted=False)


def test_half_a_key_in_the_store_is_not_trust(package_bytes: bytes) -> None:
    half = PublicIdentity(CREATOR, PublicKeys(SIGNER.public.keys.ed25519, None), CREATED)
    result = check(package_bytes, trusting(half))
    assert (result.verdict, result.is_intact) == ("untrusted", True)


def test_foreign_packages_are_intact_with_ed25519_only(package_bytes: bytes) -> None:
    data = foreign(package_bytes, SIGNER)
    for trust, given_key in (
        (TRUSTED, None),
        (NOBODY, PublicKeys(SIGNER.public.keys.ed25519, None)),
    ):
        result = check(data, trust, public_key=given_key)
        if given_key is None:
            # Its creator's ML-DSA-65 key is known, so a stub is a broken signature.
            assert result.verdict == "refused"
            assert failed(result) == {"ml_dsa_65"}
        else:
            assert result.verdict == "ed25519_only"
            assert not result.is_intact
            assert failed(result) == {"ml_dsa_65"}
            with pytest.raises(VerificationError, match="Ed25519 only"):
                result.require(trusted=False)
    half = PublicIdentity(CREATOR, PublicKeys(SIGNER.public.keys.ed25519, None), CREATED)
    assert check(data, trusting(half)).verdict == "ed25519_only"
    unknown = check(data, NOBODY)
    assert "--public-key" in unknown.why
    assert failed(unknown) == {"creator_key", "ed25519", "ml_dsa_65"}
    wrong = check(data, NOBODY, public_key=key_pair(2).public.keys)
    assert failed(wrong) == {"creator_key", "ed25519", "ml_dsa_65"}


def setting(*path: str, to: object) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        part = manifest
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = to

    return change


def removing(*path: str) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        part = manifest
        for key in path[:-1]:
            part = part[key]
        del part[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (setting("name", to="other"), {"manifest_hash"}),
        (setting("skill_doc", to="---\n"), {"manifest_hash"}),
        (setting("extra", to=1), {"manifest_hash"}),
        (setting("privacy", "epsilon", to=0.1), {"manifest_hash"}),
        (setting("creator", "name", to="Eve"), {"manifest_hash", "ed25519", "ml_dsa_65"}),
        (setting("lora_config", "rank", to=3), {"manifest_hash", "ed25519", "ml_dsa_65"}),
        (
            setting("integrity", "payload_hash", to="0" * 64),
            {"manifest_hash", "payload_hash", "ed25519", "ml_dsa_65"},
        ),
        (setting("signatures", "ed25519", to=encode64(bytes(64))), {"ed25519"}),
        (setting("signatures", "dilithium3", to=encode64(bytes(3309))), {"ml_dsa_65"}),
        (setting("signatures", "dilithium3", to=encode64(b"stub")), {"ml_dsa_65"}),
        (setting("signatures", "dilithium3", to=""), {"ml_dsa_65"}),
    ],
)
def test_changes_fail_exactly_the_checks_that_cover_them(
    package_bytes: bytes, change: Change, checks: set[str]
) -> None:
    for trust in (TRUSTED, NOBODY):
        result = check(edited(package_bytes, change), trust)
        assert failed(result) == checks
        assert result.verdict == "refused"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (removing("signatures"), "signatures"),
        (removing("integrity"), "integrity"),
        (removing("creator", "public_key_fingerprint"), "fingerprint"),
        (removing("lora_config", "simd_slots"), "simd_slots"),
        (removing("rvu_safety", "screening_hash"), "screening_hash"),
        (removing("signatures", "dilithium3"), "dilithium3"),
        (setting("signatures", "extra", to=1), "extra"),
        (setting("format", to="ZIP"), "format"),
        (setting("version", to="2.0"), "version"),
        (setting("name", to=""), "name"),
        (setting("name", to="x" * 257), "name"),
        (setting("lora_config", "rank", to=0), "rank"),
        (setting("lora_config", "rank", to=1025), "rank"),
        (setting("lora_config", "rank", to=True), "rank"),
        (setting("lora_config", "rank", to="2"), "rank"),
        (setting("lora_config", "rank", to=2.0), "rank"),
        (setting("lora_config", "alpha", to=0), "alpha"),
        (setting("lora_config", "target_modules", to=[]), "target_modules"),
        (setting("lora_config", "target_modules", to=[1]), "target_modules"),
        (setting("lora_config", "lora_dropout", to=1.5), "lora_dropout"),
        (setting("lora_config", "bias", to="some"), "bias"),
        (setting("rvu_safety", "version", to="RVUv1"), "version"),
        (setting("rvu_safety", "screening_passed", to="yes"), "screening_passed"),
        (setting("rvu_safety", "screening_hash", to="A" * 64), "screening_hash"),
        (setting("integrity", "hash_algorithm", to="MD5"), "hash_algorithm"),
        (setting("integrity", "payload_hash", to="0" * 64 + "\n"), "payload_hash"),
        (setting("skill", "quality_score", to=1.01), "quality_score"),
        (setting("privacy", to={"mechanism": "dp-sgd"}), "lacks epsilon"),
        (setting("evaluation", "interval", to=[0.5]), "interval"),
    ],
)
def test_malformed_manifests_are_refused_even_when_signed(
    package_bytes: bytes, change: Change, reason: str
) -> None:
    manifest, payload = parts(package_bytes)
    change(manifest)
    result = check(assemble(canonical_json(manifest), payload))
    assert "manifest_fields" in failed(result)
    assert reason in result.why


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["creator", "integrity", "lora_config"], "lacks rvu_safety"),
        ([], "lacks"),
        (["integrity", "creator", "lora_config", "rvu_safety"], "sorted"),
        (["creator", "creator", "integrity", "lora_config", "rvu_safety"], "twice"),
        (["creator", "integrity", "lora_config", "nothing", "rvu_safety"], "can't be signed"),
        (["creator", "integrity", "lora_config", "rvu_safety", "signatures"], "can't be signed"),
    ],
)
def test_signed_fields_must_cover_what_they_have_to(
    package_bytes: bytes, fields: list[str], reason: str
) -> None:
    data = resigned(package_bytes, setting("signatures", "signed_fields", to=fields), SIGNER)
    result = check(data)
    assert "signed_fields" in failed(result)
    assert reason in result.why


def test_more_signed_fields_are_welcome(package_bytes: bytes) -> None:
    fields = ["creator", "integrity", "lora_config", "privacy", "rvu_safety"]
    data = resigned(package_bytes, setting("signatures", "signed_fields", to=fields), SIGNER)
    assert check(data).is_trusted


def test_another_spelling_of_a_signature_is_refused(package_bytes: bytes) -> None:
    manifest, _ = parts(package_bytes)
    text = manifest["signatures"]["ed25519"]
    spellings = 0
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/":
        other = text[:-3] + last + "=="
        if other != text and base64.b64decode(other) == base64.b64decode(text):
            spellings += 1
            data = edited(package_bytes, setting("signatures", "ed25519", to=other))
            assert failed(check(data)) == {"ed25519"}
    assert spellings == 15


def test_swapped_signatures_are_refused(package_bytes: bytes) -> None:
    def swap(manifest: dict[str, Any]) -> None:
        signatures = manifest["signatures"]
        signatures["ed25519"], signatures["dilithium3"] = (
            signatures["dilithium3"],
            signatures["ed25519"],
        )

    assert failed(check(edited(package_bytes, swap))) == {"ed25519", "ml_dsa_65"}


def test_another_key_cannot_stand_in(package_bytes: bytes) -> None:
    eve = key_pair(9)
    fields = {
        "ed25519_public_key": encode64(eve.public.keys.ed25519),
        "ml_dsa_65_public_key": encode64(eve.public.keys.ml_dsa_65 or b""),
    }

    def keep_fingerprint(manifest: dict[str, Any]) -> None:
        manifest["creator"].update(fields)

    def take_fingerprint(manifest: dict[str, Any]) -> None:
        manifest["creator"].update(fields, public_key_fingerprint=eve.public.fingerprint)

    assert "creator_key" in failed(check(resigned(package_bytes, keep_fingerprint, eve), NOBODY))
    # Re-signed wholly under Eve's own key it is intact, and nobody's.
    result = check(resigned(package_bytes, take_fingerprint, eve))
    assert result.verdict == "untrusted"
    # The right key's signature under the wrong private key.
    assert failed(check(resigned(package_bytes, lambda m: None, eve))) == {"ed25519", "ml_dsa_65"}


def test_the_stores_post_quantum_key_wins_over_the_packages(package_bytes: bytes) -> None:
    """Whoever breaks Ed25519 alone can't bring an ML-DSA-65 key of their own."""
    forger = KeyPair(
        CREATOR, ed25519_seed=bytes([1]) * 32, ml_dsa_65_seed=bytes(32), created=CREATED
    )
    assert forger.public.fingerprint == SIGNER.public.fingerprint
    own = setting(
        "creator", "ml_dsa_65_public_key", to=encode64(forger.public.keys.ml_dsa_65 or b"")
    )
    result = check(resigned(package_bytes, own, forger))
    assert "creator_key" in failed(result)
    dropped = resigned(package_bytes, removing("creator", "ml_dsa_65_public_key"), forger)
    assert failed(check(dropped)) == {"ml_dsa_65"}
    assert check(dropped).verdict == "refused"


@pytest.mark.parametrize("key", ["AAAA", "not base64", encode64(bytes(1951))])
def test_malformed_embedded_keys_are_refused(package_bytes: bytes, key: str) -> None:
    data = resigned(package_bytes, setting("creator", "ml_dsa_65_public_key", to=key), SIGNER)
    assert "creator_key" in failed(check(data))
    data = resigned(package_bytes, removing("creator", "ed25519_public_key"), SIGNER)
    assert "creator_key" in failed(check(data))


def test_truncation_and_extension_are_refused_at_every_length(package_bytes: bytes) -> None:
    for size in range(0, len(package_bytes), 97):
        assert check(package_bytes[:size]).verdict == "refused"
    assert check(package_bytes[:-1]).verdict == "refused"
    for more in (b"\0", b"\n", package_bytes):
        assert {"payload_hash", "safetensors"} <= failed(check(package_bytes + more))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "too few"),
        (b"TGSP", "too few"),
        (b"PK\x03\x04" + bytes(20), "magic"),
        (b"TGSP\x02\x00" + bytes(20), "version 2.0"),
        (b"TGSP\x01\x01" + bytes(20), "version 1.1"),
        (MAGIC + (2**32 - 1).to_bytes(4, "little"), "at most 16777216"),
        (MAGIC + (100).to_bytes(4, "little") + b"{}", "only 2 follow"),
    ],
)
def test_bad_layouts_say_why(data: bytes, reason: str, tmp_path: Path) -> None:
    result = check(data)
    assert reason in result.why
    assert failed(result) == set(CHECKS)
    path = tmp_path / "bad.tgsp"
    path.write_bytes(data)
    assert reason in verify_package(path, NOBODY).why


def test_a_payload_that_is_no_adapter_is_refused_even_when_signed(package_bytes: bytes) -> None:
    manifest, _ = parts(package_bytes)
    payload = b"\x80\x04" + b"pickled" * 10
    manifest["integrity"]["payload_hash"] = sha256_hex(payload)
    data = resigned(assemble(canonical_json(manifest), payload), lambda m: None, SIGNER)
    assert failed(check(data)) == {"safetensors"}


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        verify_package(tmp_path / "absent", NOBODY)
    os.mkfifo(tmp_path / "pipe")
    assert "plain file" in verify_package(tmp_path / "pipe", NOBODY).why
    assert "plain file" in verify_package(tmp_path, NOBODY).why


@given(st.binary(max_size=400))
def test_any_manifest_bytes_are_refused_without_a_crash(manifest: bytes) -> None:
    assert check(assemble(manifest, adapter())).verdict == "refused"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_random_damage_is_always_refused(package_bytes: bytes, data: st.DataObject) -> None:
    changed = bytearray(package_bytes)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place] ^= data.draw(st.integers(1, 255))
    if changed != package_bytes:
        assert check(bytes(changed)).verdict == "refused"


def test_the_stores_name_for_a_creator_is_shown(package_bytes: bytes) -> None:
    entry = TRUSTED.find(SIGNER.public.fingerprint)
    assert entry is not None
    identity = replace(CREATOR, name="My colleague")
    known = TrustedCreator(replace(entry.public, identity=identity), CREATED)
    result = check(package_bytes, TrustStore({SIGNER.public.fingerprint: known}))
    assert result.trust.known_as == "My colleague"
