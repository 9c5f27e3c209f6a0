"""Fixtures of the compute tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_models import random_data, run_spec, tiny_base

from tinker_engine.config import EngineConfig
from tinker_engine.models.base_model import LoadedBase
from tinker_engine.runtime.records import RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend


@pytest.fixture
def make_base() -> Callable[..., LoadedBase]:
    return tiny_base


@pytest.fixture
def make_backend() -> Callable[..., TorchBackend]:
    def make(family: str = "llama", **options: Any) -> TorchBackend:
        config = EngineConfig(microbatch_tokens=options.pop("rows", 64), precision="fp32")
        return TorchBackend(tiny_base(family), config, **options)

    return make


@pytest.fixture
def data() -> list[TrainDatum]:
    return random_data(12)


@pytest.fixture
def make_spec() -> Callable[..., RunSpec]:
    return run_spec


@pytest.fixture
def ledger_dir(tmp_path: Path) -> Path:
    return tmp_path / "ledger"
