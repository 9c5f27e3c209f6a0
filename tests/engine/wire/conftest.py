"""A real server on loopback with a real base model, shared by the tests of one worker."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator

import httpx
import pytest
from wire_bodies import fetch

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, open_engine
from tinker_engine.runtime.callers import Limits
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.host import Host

# The SDK announces that its lazy clients will go; the tests resolve them at once.
warnings.filterwarnings("ignore", category=FutureWarning, module="tinker")


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> EngineConfig:
    return EngineConfig(home=tmp_path_factory.mktemp("home"), base_model="nano", threads=1)


@pytest.fixture(scope="session")
def connection(config: EngineConfig) -> Iterator[Connection]:
    with open_engine("embedded", config=config) as opened:
        yield opened


@pytest.fixture(scope="session")
def running(connection: Connection) -> Engine:
    """The engine behind the connection."""
    assert connection.host is not None
    return connection.host.engine


@pytest.fixture(scope="session")
def raw(connection: Connection) -> Iterator[httpx.Client]:
    """A bare HTTP client with the right key."""
    with httpx.Client(
        base_url=f"{connection.base_url}/api/v1",
        headers={"X-API-Key": connection.api_key},
        timeout=60,
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture(scope="session")
def session_id(raw: httpx.Client) -> str:
    answer = raw.post("/create_session", json={"tags": [], "sdk_version": "test"})
    return answer.json()["session_id"]


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def new_run(raw: httpx.Client, session_id: str, _numbers: Iterator[int]) -> Callable[..., str]:
    """Creates a run over bare HTTP and gives its id."""

    def create(**metadata: str) -> str:
        body = {
            "session_id": session_id,
            "model_seq_id": next(_numbers),
            "base_model": "nano",
            "lora_config": {"rank": 4, "seed": 1, "train_unembed": False},
            "user_metadata": metadata or None,
        }
        result = fetch(raw, raw.post("/create_model", json=body))
        assert "error" not in result, result
        return result["model_id"]

    return create


class KeyedServer:
    """A server of several keys, and bare clients that hold them."""

    own_key = "tml-the-key-of-the-server-itself"

    def __init__(self, config: EngineConfig) -> None:
        self.engine = Engine.open(config)
        self.host = Host(self.engine, "127.0.0.1", 0, self.own_key, with_stored_keys=True)
        self.host.start()
        self._clients: list[httpx.Client] = []

    def client(self, secret: str) -> httpx.Client:
        made = httpx.Client(
            base_url=f"{self.host.base_url}/api/v1",
            headers={"X-API-Key": secret},
            timeout=60,
            trust_env=False,
        )
        self._clients.append(made)
        return made

    def new_client(self, name: str, **limits: int) -> httpx.Client:
        """A client with a key of its own."""
        limited = Limits(**limits)
        _, secret = self.engine.api_keys.create(name, expires_at=None, limits=limited)
        return self.client(secret)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self.host.stop()


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    home = tmp_path_factory.mktemp("keyed")
    server = KeyedServer(EngineConfig(home=home, base_model="nano", threads=1))
    yield server
    server.stop()
