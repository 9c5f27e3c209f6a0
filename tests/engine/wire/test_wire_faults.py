"""Lost answers and odd requests: training that comes out the same, and errors that are typed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import tinker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_bodies import fetch

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, open_engine
from tinker_engine.runtime.engine import Engine
from tinker_engine.server import host

TOKENS = [5, 6, 7, 8, 9, 10, 11, 12]


class LosesAnswers:
    """An application whose every second answer to a POST is lost after the work was done."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._counter = itertools.count()
        self.lost: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or next(self._counter) % 2 == 0:
            await self._app(scope, receive, send)
            return
        sent: list[Any] = []

        async def keep(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, keep)
        self.lost.append(scope["path"].rpartition("/")[2])
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"lost"})


@pytest.fixture
def lossy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, Any]]:
    made: list[LosesAnswers] = []
    real = host.create_app

    def create(engine: Engine, keys: Any) -> Any:
        made.append(LosesAnswers(real(engine, keys)))
        return made[0]

    monkeypatch.setattr(host, "create_app", create)
    config = EngineConfig(home=tmp_path, base_model="nano", threads=1)
    with open_engine("embedded", config=config) as opened:
        yield opened, made[0]


def train(connection: Connection) -> tuple[list[float], list[int]]:
    """Losses of three steps, and what the trained weights then say."""
    client = connection.service_client.create_lora_training_client(
        "nano", rank=4, seed=11, train_unembed=False
    ).result()
    datum = tinker.Datum(
        model_input=tinker.ModelInput.from_ints(TOKENS[:-1]),
        loss_fn_inputs={"target_tokens": TOKENS[1:]},
    )
    steps = []
    for _ in range(3):
        loss = client.forward_backward([datum], "cross_entropy")
        steps.append((loss, client.optim_step(tinker.AdamParams(learning_rate=1e-2))))
    losses = [loss.result().metrics["loss:sum"] for loss, _ in steps]
    counts = [(step.result().metrics or {})["optimizer_step"] for _, step in steps]
    assert counts == [1.0, 2.0, 3.0]
    path = client.save_weights_for_sampler("end").result().path
    sampler = connection.service_client.create_sampling_client(model_path=path).result()
    params = tinker.SamplingParams(max_tokens=4, temperature=1.0, seed=2)
    answer = sampler.sample(tinker.ModelInput.from_ints(TOKENS[:3]), 1, params).result()
    return losses, list(answer.sequences[0].tokens)


def test_lost_answers_change_nothing(lossy: tuple[Connection, Any], connection: Connection) -> None:
    opened, app = lossy
    assert train(opened) == train(connection)
    assert len(app.lost) > 8
    # Work was lost on its way back, not only polls.
    assert {"forward_backward", "optim_step", "retrieve_future"} & set(app.lost) != set()


FIELDS: dict[str, tuple[str, ...]] = {
    "/create_model": ("session_id", "model_seq_id", "base_model", "lora_config", "user_metadata"),
    "/load_weights": ("model_id", "seq_id", "session_id", "model_seq_id", "path", "optimizer"),
    "/save_weights": ("model_id", "seq_id", "path", "ttl_seconds", "overwrite", "user_metadata"),
    "/save_weights_for_sampler": ("model_id", "path", "kind", "sampling_session_seq_id"),
    "/save_weights_external": ("model_id", "path", "ttl_seconds", "age_encryption_recipients"),
    "/copy_weights": ("source_path", "session_id", "model_seq_id", "destination_project_id"),
    "/optim_step": ("model_id", "seq_id", "adam_params", "optimizer_params"),
    "/forward": ("model_id", "seq_id", "forward_input"),
    "/forward_backward": ("model_id", "seq_id", "forward_backward_input"),
    "/asample": ("sampling_session_id", "seq_id", "prompt", "sampling_params", "num_samples"),
    "/create_sampling_session": ("session_id", "sampling_session_seq_id", "base_model"),
    "/join_sampling_session": ("sampling_session_id",),
    "/retrieve_futures": ("target", "prev_cursor", "timeout", "retrieved_request_ids"),
    "/cancel_future": ("request_id",),
    "/get_info": ("model_id",),
    "/unload_model": ("model_id",),
    "/weights_info": ("tinker_path",),
    "/session_heartbeat": ("session_id",),
    "/client/config": ("sdk_version",),
    "/create_session": ("tags", "sdk_version", "display_name", "user_metadata"),
}
LONE_SURROGATE = "\ud800"
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        [LONE_SURROGATE, "\0", "../x", "nano", "cross_entropy", "tinker://a/weights/b"]
    ),
)
INNER = (
    *("data", "loss_fn", "loss_fn_config", "chunks", "tokens", "type", "rank", "seed", "stop"),
    *("temperature", "max_tokens", "learning_rate", "sampling_session_id", "cloned_sampler_id"),
)
VALUE = st.recursive(
    ODD,
    lambda deeper: st.one_of(
        st.lists(deeper, max_size=3),
        st.dictionaries(st.sampled_from(INNER), deeper, max_size=4),
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def real_ids(raw: httpx.Client) -> dict[str, str]:
    """A session, run and sampler that exist, so that requests get past the first check."""
    session = raw.post("/create_session", json={}).json()["session_id"]
    body = {
        "session_id": session,
        "model_seq_id": 0,
        "base_model": "nano",
        "lora_config": {"rank": 1, "train_unembed": False},
    }
    run = fetch(raw, raw.post("/create_model", json=body))["model_id"]
    body = {"session_id": session, "sampling_session_seq_id": 0, "base_model": "nano"}
    sampler = raw.post("/create_sampling_session", json=body).json()["sampling_session_id"]
    return {"session_id": session, "model_id": run, "sampling_session_id": sampler}


@given(data=st.data())
@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_odd_requests_get_typed_errors(
    raw: httpx.Client, real_ids: dict[str, str], data: st.DataObject
) -> None:
    import json

    route = data.draw(st.sampled_from(sorted(FIELDS)))
    body: dict[str, Any] = {}
    for field in FIELDS[route]:
        if data.draw(st.booleans()):
            body[field] = data.draw(VALUE)
        elif field in real_ids and route != "/unload_model":
            body[field] = real_ids[field]
    if route == "/retrieve_futures":
        body["timeout"] = 0
    answer = raw.post(route, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, (route, body, answer.text)
    if answer.status_code >= 400:
        assert answer.json()["category"] == "user"
        assert answer.json()["error"]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/create_session", {"display_name": LONE_SURROGATE}),
        ("/create_session", {"user_metadata": {"a": LONE_SURROGATE}}),
        ("/create_model", {"user_metadata": {"a": LONE_SURROGATE}}),
        ("/save_weights", {"path": "a", "user_metadata": {"a": LONE_SURROGATE}}),
        ("/create_sampling_session", {"sampling_session_seq_id": 2**80}),
        ("/optim_step", {"adam_params": {"learning_rate": float("nan")}}),
        ("/asample", {"prompt": {"chunks": [{"tokens": [2**80]}]}, "seq_id": 1}),
        ("/forward_backward", {"seq_id": 2**63, "forward_backward_input": {}}),
    ],
)
def test_what_json_can_say_and_text_cannot(
    raw: httpx.Client, real_ids: dict[str, str], route: str, body: dict[str, Any]
) -> None:
    import json

    headers = {"Content-Type": "application/json"}
    answer = raw.post(route, content=json.dumps({**real_ids, **body}), headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["category"] == "user"
    assert raw.get("/healthz").status_code == 200


def test_unexpected_failure_is_typed_and_keeps_the_connection(
    raw: httpx.Client, running: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(running.store, "list_sessions", broken)
    for _ in range(3):
        answer = raw.get("/sessions")
        assert answer.status_code == 500
        assert answer.json()["category"] == "server"
        assert "internal error" in answer.json()["error"]
        assert "secret" not in answer.text


@pytest.mark.parametrize("tail", ["", "/ttl", "/publish", "/archive", "/external_weights_urls"])
@pytest.mark.parametrize("place", ["a/weights/b", "%00/weights/b", "a/weights/%2e%2e", "a/x/b"])
def test_odd_places_get_typed_errors(raw: httpx.Client, place: str, tail: str) -> None:
    run, rest = place.split("/", 1)
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = raw.request(method, f"/training_runs/{run}/checkpoints/{rest}{tail}", json={})
        assert 400 <= answer.status_code < 500, (method, answer.text)
        assert answer.json()["category"] == "user"
