"""Packages of released versions stay readable, trusted by the same key, for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensafe.tgsp import verify_package
from tensafe.tgsp.keys import PublicKeys, read_public_key_document
from tensafe.tgsp.trust import NOBODY, TrustedCreator, TrustStore

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "tgsp"
CREATOR = read_public_key_document((GOLDEN / "creator-0.1.0.json").read_bytes())
TRUSTED = TrustStore({CREATOR.fingerprint: TrustedCreator(CREATOR, CREATOR.created)})


@pytest.mark.parametrize("name", ["private-0.1.0.tgsp", "not-private-0.1.0.tgsp"])
def test_released_packages_verify(name: str) -> None:
    result = verify_package(GOLDEN / name, TRUSTED)
    assert result.is_trusted
    assert result.payload_hash == (
        "5885bb94aa5c39c5cb56c5e12a4daa54a14aaaef7bad9b78e0b5d6e811dca16f"
    )


def test_fields_of_released_packages_keep_their_meaning() -> None:
    view = verify_package(GOLDEN / "private-0.1.0.tgsp", TRUSTED).require().view
    assert (view.name, view.model.base_model, view.lora_config.rank) == (
        "support-routing",
        "nano",
        2,
    )
    assert view.privacy is not None
    assert view.evaluation is not None
    assert (view.privacy.epsilon, view.privacy.delta, view.evaluation.score) == (7.9, 1e-5, 0.91)
    other = verify_package(GOLDEN / "not-private-0.1.0.tgsp", TRUSTED).require().view
    assert other.privacy is not None
    assert other.privacy.mechanism == "none"


def test_the_reference_writers_form_is_read() -> None:
    key = PublicKeys(CREATOR.keys.ed25519, None)
    result = verify_package(GOLDEN / "reference-writer-form.tgsp", NOBODY, public_key=key)
    assert result.verdict == "ed25519_only"


def test_goldens_are_small() -> None:
    assert all(path.stat().st_size < 20_000 for path in GOLDEN.iterdir())
