"""One trained package for the room, variants of it, and a home with a key and a trust store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from market_packages import ADA, OPERATOR, Shelf
from market_service import serving

from evidence._market_packages import trained_package
from tensafe.tgsp import Identity, KeyPair, KeyStore, trust_path
from tensafe.tgsp.trust import trust


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """The trained package and what is made of it."""
    return Shelf(trained_package(tmp_path_factory.mktemp("trained"), steps=2))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key folder of the test's own, with a passphrase in the environment."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TENSAFE_HOME", str(folder))
    monkeypatch.setenv("TENSAFE_KEY_PASSPHRASE", OPERATOR)
    monkeypatch.delenv("TENSAFE_MARKETPLACE", raising=False)
    return folder


@pytest.fixture
def ada(home: Path) -> KeyPair:
    """Somebody whom the home trusts."""
    trust(trust_path(home), ADA.public)
    return ADA


@pytest.fixture
def own_key(home: Path) -> KeyPair:
    """A key that lies in the home, encrypted."""
    return KeyStore(home).create(Identity("Ada", "ada@example.org"), OPERATOR)


@pytest.fixture
def url(shelf: Shelf, home: Path, tmp_path: Path) -> Iterator[str]:
    """The URL of a service on SQLite."""
    with serving(tmp_path / "market", shelf.base) as running:
        yield running.url
