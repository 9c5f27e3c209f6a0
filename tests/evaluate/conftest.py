"""Real small models for evaluation tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
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
