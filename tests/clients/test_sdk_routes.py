"""Every route that the installed SDK's source calls is served, or refused with what to do instead.

The routes are read from the SDK itself, so a newer SDK with a new route fails here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import tinker

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, open_engine

METHODS = {"get", "post", "put", "delete", "patch"}
PREFIX = "/api/v1/"
JSON, PROTO, NONE = "JSON", "JSON, protobuf, either in zstd", "no body"

# Method, path, body, and whether it is served; a refused one is answered with advice.
TABLE = [
    ("POST", "asample", JSON, True),
    ("POST", "cancel_future", JSON, True),
    ("GET", "checkpoints", NONE, True),
    ("POST", "client/config", JSON, True),
    ("POST", "client/dynamic_config", JSON, True),
    ("POST", "copy_weights", JSON, True),
    ("POST", "create_model", JSON, True),
    ("POST", "create_sampling_session", JSON, True),
    ("POST", "create_session", JSON, True),
    ("POST", "forward_backward", PROTO, True),
    ("POST", "get_info", JSON, True),
    ("GET", "get_server_capabilities", NONE, True),
    ("GET", "healthz", NONE, True),
    ("POST", "join_sampling_session", JSON, True),
    ("POST", "load_weights", JSON, True),
    ("POST", "optim_step", JSON, True),
    ("POST", "retrieve_future", JSON, True),
    ("POST", "retrieve_futures", JSON, True),
    ("GET", "samplers/{id}", NONE, True),
    ("POST", "save_weights", JSON, True),
    ("POST", "save_weights_external", JSON, True),
    ("POST", "save_weights_for_sampler", JSON, True),
    ("POST", "session_heartbeat", JSON, True),
    ("GET", "sessions", NONE, True),
    ("GET", "sessions/{id}", NONE, True),
    ("POST", "sessions/{id}/finish", JSON, True),
    ("POST", "telemetry", JSON, True),
    ("GET", "training_runs", NONE, True),
    ("GET", "training_runs/{id}", NONE, True),
    ("GET", "training_runs/{id}/checkpoints", NONE, True),
    ("DELETE", "training_runs/{id}/checkpoints/{checkpoint}", NONE, True),
    ("GET", "training_runs/{id}/checkpoints/{checkpoint}/external_weights_urls", NONE, True),
    ("DELETE", "training_runs/{id}/checkpoints/{checkpoint}/publish", NONE, True),
    ("POST", "training_runs/{id}/checkpoints/{checkpoint}/publish", NONE, True),
    ("PUT", "training_runs/{id}/checkpoints/{checkpoint}/ttl", JSON, True),
    ("POST", "weights_info", JSON, True),
    ("GET", "audit", NONE, False),
    ("DELETE", "auth/apikey/me", NONE, False),
    ("GET", "auth/apikey/me", NONE, False),
    ("POST", "auth/token", JSON, False),
    ("GET", "billing/usage/checkpoints/current", NONE, False),
    ("GET", "billing/usage/events", NONE, False),
    ("POST", "create_custom_loss", JSON, False),
    ("POST", "sessions/search", JSON, False),
    ("PUT", "sessions/{id}/project", JSON, False),
    ("GET", "sessions/{id}/trace_export", NONE, False),
]
# What SDKs before 0.38 call beyond these.
OLDER = [
    ("POST", "forward", PROTO, True),
    ("POST", "unload_model", JSON, True),
    ("GET", "training_runs/{id}/checkpoints/{checkpoint}/archive", NONE, True),
]
IDS = [f"{method} {path}" for method, path, _, _ in TABLE + OLDER]


class Call(NamedTuple):
    method: str
    path: str


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    config = EngineConfig(home=tmp_path_factory.mktemp("home"), base_model="nano", threads=1)
    with open_engine("embedded", config=config) as connection:
        yield from _client(connection)


def _client(connection: Connection) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"{connection.base_url}{PREFIX}",
        headers={"X-API-Key": connection.api_key},
        timeout=60,
        trust_env=False,
    ) as client:
        yield client


def calls_of_the_sdk() -> set[Call]:
    """Every call with a literal route in the SDK's source."""
    folder = Path(tinker.__file__).parent
    found: set[Call] = set()
    for file in folder.rglob("*.py"):
        if file.name.endswith("_test.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                found |= _routes(node)
    return found


def _routes(call: ast.Call) -> set[Call]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    texts = [_text(argument) for argument in call.args]
    for place, text in enumerate(texts):
        if text is not None and f"/{text.lstrip('/')}".startswith(PREFIX):
            method = name.strip("_") if name.strip("_") in METHODS else texts[place - 1]
            return {Call(str(method).upper(), text.lstrip("/").removeprefix(PREFIX[1:]))}
    return set()


def _text(node: ast.expr) -> str | None:
    """A string or f-string, with placeholders by what they stand for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return None
    parts = []
    for value in node.values:
        if isinstance(value, ast.FormattedValue):
            parts.append("{checkpoint}" if "checkpoint" in ast.unparse(value) else "{id}")
        else:
            parts.append(str(_text(value)))
    return "".join(parts)


def test_the_table_names_every_route_of_the_sdk() -> None:
    assert calls_of_the_sdk() == {Call(method, path) for method, path, _, _ in TABLE}


@pytest.mark.parametrize(("method", "path", "body", "is_served"), TABLE + OLDER, ids=IDS)
def test_route_answers_as_the_table_says(
    raw: httpx.Client, method: str, path: str, body: str, *, is_served: bool
) -> None:
    place = path.replace("{id}", "absent").replace("{checkpoint}", "weights/absent")
    answer = raw.request(method, place, json={} if body != NONE else None)
    told = answer.json().get("error", "") if answer.status_code != 200 else ""
    assert answer.status_code < 500
    assert "is not served by this engine" not in told or not is_served
    if not is_served:
        assert answer.status_code == 400
        assert answer.json()["category"] == "user"
        # Not merely "no", but what to do.
        assert len(told.partition("is not served by this engine: ")[2]) > 10


@pytest.mark.parametrize("encoding", ["identity", "zstd", "br"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
@pytest.mark.parametrize("path", [path for _, path, body, _ in TABLE + OLDER if body == PROTO])
def test_broken_training_bodies_are_the_clients_fault(
    raw: httpx.Client, path: str, kind: str, encoding: str
) -> None:
    headers = {"content-type": kind, "content-encoding": encoding}
    answer = raw.post(path, content=b"\xff\x01 not a body", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["category"] == "user"
