"""Real small models for screening tests; the adapter class is the evaluation room's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "evaluate"))

from local_model import LocalModel

# A busy machine makes single cases slow; a time limit on them would fail by chance.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def memorising(shared_data: Path) -> LocalModel:
    return LocalModel(shared_data / "models" / "slm4096-gpt2-hf")


@pytest.fixture(scope="session")
def storyteller(shared_data: Path) -> LocalModel:
    return LocalModel(shared_data / "models" / "llama2xs-280K-hf")


@pytest.fixture(scope="session")
def adapters(shared_data: Path) -> list[Path]:
    return sorted(path for path in (shared_data / "adapters").iterdir() if path.is_dir())
