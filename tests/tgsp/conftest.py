"""A written package and its parts, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from sample_package import adapter, gates, key_pair, metadata

from tensafe.tgsp import write_package

# A busy machine must not fail a test of behaviour.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def package_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("package") / "sample.tgsp"
    write_package(path, payload=adapter(), metadata=metadata(), gates=gates(), signer=key_pair())
    return path.read_bytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key folder of the test's own, with a passphrase in the environment."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TENSAFE_HOME", str(folder))
    monkeypatch.setenv("TENSAFE_KEY_PASSPHRASE", "correct horse battery")
    return folder
