"""The OpenAPI document says what the routes do, and broken bodies are refused with a type."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tinker_engine.server.openapi import ROUTES

if TYPE_CHECKING:
    from conftest import KeyedServer

REPOSITORY = Path(__file__).parents[3]
sys.path.insert(0, str(REPOSITORY))

from evidence import _wire_belongings, _wire_mutation, fuzz_wire  # noqa: E402


@pytest.fixture(scope="module")
def user(keyed: KeyedServer) -> httpx.Client:
    _, secret = keyed.engine.api_keys.create("api-user", expires_at=None, limits=_none())
    return _wire_belongings.client(keyed.host.base_url, secret)


@pytest.fixture(scope="module")
def document(user: httpx.Client) -> dict[str, Any]:
    return user.get("/openapi.json").json()


@pytest.fixture(scope="module")
def things(user: httpx.Client) -> _wire_belongings.Belongings:
    return _wire_belongings.make(user, "openapi")


def _none() -> Any:
    from tinker_engine.runtime.callers import Limits

    return Limits()


def test_every_route_is_described(document: dict[str, Any]) -> None:
    served = {(m, p) for p, methods in document["paths"].items() for m in methods}
    assert served == set(ROUTES)
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    assert all(f'"#/components/schemas/{name}"' in text for name in ("ErrorAnswer", "SampleBody"))
    assert names >= {"SampleBody", "ForwardBackwardBody", "RunFacts", "EngineStatus"}
    assert "422" not in document["paths"]["/api/v1/sessions"]["get"]["responses"]


def test_answers_are_as_described(
    document: dict[str, Any], user: httpx.Client, things: _wire_belongings.Belongings
) -> None:
    # The validator that Schemathesis brings along.
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    bodies = _wire_mutation.real_bodies(things)
    asked = [("post", body.route, body) for body in bodies]
    asked += [
        ("get", path, None)
        for path in (
            "/sessions",
            "/sessions/{session_id}",
            "/samplers/{sampler_id}",
            "/training_runs",
            "/training_runs/{run_id}",
            "/training_runs/{run_id}/checkpoints",
            "/training_runs/{run_id}/checkpoints/{kind}/{name}/archive",
            "/training_runs/{run_id}/checkpoints/{kind}/{name}/external_weights_urls",
            "/checkpoints",
            "/engine/status",
            "/engine/base",
            "/engine/base/shape",
            "/engine/runs/{run_id}/checkpoints/{kind}/{name}/files",
            "/engine/runs/{run_id}/privacy",
        )
    ]
    succeeded = 0
    for method, route, body in asked:
        place = f"/api/v1{route}".replace("0" * 32, "{session_id}")
        url = fuzz_wire.filled(place, things)
        if route.endswith("finish"):
            url = url.replace(things.session_id, "0" * 32)
        content = {} if body is None else {"content": body.content}
        media = "application/json" if body is None else body.media
        answer = user.request(method, url, headers={"Content-Type": media}, **content)
        described = document["paths"][place][method]["responses"][str(answer.status_code)]
        schema = described["content"]["application/json"]["schema"]
        whole = {**schema, "components": document["components"]}
        jsonschema_rs.validator_for(whole).validate(answer.json())
        succeeded += answer.status_code < 400
    assert succeeded > 25


def test_broken_bodies_are_refused_with_a_type(
    user: httpx.Client, things: _wire_belongings.Belongings
) -> None:
    tally = fuzz_wire.mutate(user, things, 80, seed=random.randrange(10**6))
    assert not tally.faults
    assert tally.statuses[400] > 25


def test_wrong_keys_reach_nothing(
    keyed: KeyedServer, document: dict[str, Any], things: _wire_belongings.Belongings
) -> None:
    tally = fuzz_wire.wrong_keys(document, keyed.host.base_url, things)
    assert not tally.faults


def test_another_key_reaches_nothing(
    keyed: KeyedServer, document: dict[str, Any], things: _wire_belongings.Belongings
) -> None:
    _, secret = keyed.engine.api_keys.create("stranger", expires_at=None, limits=_none())
    with _wire_belongings.client(keyed.host.base_url, secret) as stranger:
        tally = fuzz_wire.other_key(document, stranger, things)
    assert not tally.faults
    assert tally.statuses[404] > 25
