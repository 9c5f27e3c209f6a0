"""Real small models for evaluation tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_model import LocalModel


@pytest.fixture(scope="session")
def memorising(shared_data: Path) -> LocalModel:
    return LocalModel(shared_data / "models" / "slm4096-gpt2-hf")


@pytest.fixture(scope="session")
def storyteller(shared_data: Path) -> LocalModel:
    return LocalModel(shared_data / "models" / "llama2xs-280K-hf")
