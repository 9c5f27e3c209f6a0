"""A real engine on loopback, OpenAI's own client in front of it, and adapters that were trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from serving_samples import ANSWER, QUESTION, openai_client, train_answer

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, download_adapter, open_engine
from tinker_engine.models.adapter_files import read_adapter, write_adapter
from tinker_engine.runtime.engine import Engine

warnings.filterwarnings("ignore", category=FutureWarning, module="tinker")


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    config = EngineConfig(home=tmp_path_factory.mktemp("home"), base_model="nano", threads=1)
    with open_engine("embedded", config=config) as opened:
        yield opened


@pytest.fixture(scope="session")
def engine(connection: Connection) -> Engine:
    assert connection.host is not None
    return connection.host.engine


@pytest.fixture(scope="session")
def client(connection: Connection) -> Iterator[openai.OpenAI]:
    with openai_client(connection) as made:
        yield made


@pytest.fixture(scope="session")
def checkpoint(connection: Connection) -> str:
    """Sampler weights of a run that learned to answer QUESTION with ANSWER."""
    return train_answer(connection, QUESTION, ANSWER, steps=40)


@pytest.fixture(scope="session")
def adapter(
    connection: Connection, checkpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same weights as a PEFT folder."""
    return download_adapter(connection, checkpoint, tmp_path_factory.mktemp("adapter") / "files")


@pytest.fixture(scope="session")
def other_adapter(
    adapter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[float], Path]:
    """The adapter with its B factors scaled: another adapter with another digest."""

    def make(scale: float) -> Path:
        folder = tmp_path_factory.mktemp("other") / "files"
        files = read_adapter(adapter)
        write_adapter(
            folder, files.config, {name: (a, b * scale) for name, (a, b) in files.factors.items()}
        )
        return folder

    return make
