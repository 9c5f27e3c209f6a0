"""The records of a real run on data that attacks the page: recorded, and (slow) made afresh."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_data import train, write_rows

RECORDED = Path(__file__).resolve().parent.parent / "golden" / "report" / "0.1.0"


@pytest.fixture
def run_copy(tmp_path: Path) -> Path:
    """The recorded run in a folder that a test may change."""
    return Path(shutil.copytree(RECORDED, tmp_path / "run"))


@pytest.fixture(scope="session")
def recorded_run() -> Path:
    """The run folder as release 0.1.0 left it, without data set and weights."""
    return RECORDED


@pytest.fixture(scope="session")
def fresh_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run made by this code, once per session; four private steps can't reach the gate."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSAFE_HOME", str(folder / "tensafe"))
        patch.setenv("TINKER_ENGINE_HOME", str(folder / "engine"))
        patch.setenv("TENSAFE_KEY_PASSPHRASE", "a passphrase for tests")
        for name in ("TINKER_BASE_URL", "TINKER_API_KEY"):
            patch.delenv(name, raising=False)
        write_rows(folder / "data")
        assert train(folder / "data", folder / "run") == 3
        yield folder / "run"


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of an installed Chromium."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found
