"""Sessions: kept alive, released when idle, finished; telemetry that is taken and dropped."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import tinker
from wire_bodies import fetch, forward_backward, json_datum

from tinker_engine.connect import Connection
from tinker_engine.errors import StorageError
from tinker_engine.runtime.engine import Engine

NewRun = Callable[..., str]
DATUM = json_datum([5, 6, 7, 8, 9, 10])


@pytest.fixture
def session(raw: httpx.Client) -> str:
    answer = raw.post("/create_session", json={"tags": [], "sdk_version": "t"})
    return answer.json()["session_id"]


def create(raw: httpx.Client, session: str, number: int = 0) -> Any:
    body = {
        "session_id": session,
        "model_seq_id": number,
        "base_model": "nano",
        "lora_config": {"rank": 2, "seed": 1, "train_unembed": False},
    }
    return raw.post("/create_model", json=body)


def test_heartbeat_knows_its_sessions(raw: httpx.Client, session: str) -> None:
    assert raw.post("/session_heartbeat", json={"session_id": session}).status_code == 200
    unknown = raw.post("/session_heartbeat", json={"session_id": "nobody"})
    assert unknown.status_code == 404
    assert unknown.json()["category"] == "user"


def test_finished_session_takes_no_more_work(raw: httpx.Client, session: str) -> None:
    run = fetch(raw, create(raw, session))["model_id"]
    done = raw.post(f"/sessions/{session}/finish", json={"reason": {"type": "success"}})
    assert done.status_code == 200
    again = raw.post(f"/sessions/{session}/finish", json={"reason": {"type": "errored"}})
    assert again.status_code == 200
    for answer in (
        raw.post("/session_heartbeat", json={"session_id": session}),
        create(raw, session, 1),
        raw.post(
            "/create_sampling_session",
            json={"session_id": session, "sampling_session_seq_id": 0, "base_model": "nano"},
        ),
    ):
        assert answer.status_code == 400
        assert "finished (success)" in answer.json()["error"]
    for _ in range(100):
        refused = raw.post("/forward_backward", json=forward_backward(run, 1, DATUM))
        if refused.status_code == 404:
            break
        time.sleep(0.05)
    assert refused.status_code == 404
    assert "no checkpoints" in refused.json()["error"]


def test_idle_session_is_released_and_can_come_back(
    raw: httpx.Client, session: str, running: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fetch(raw, create(raw, session))["model_id"]
    saved = fetch(raw, raw.post("/save_weights", json={"model_id": run, "path": "kept"}))["path"]
    running._seen[session] -= 7200
    running._clean_up()
    running.on_compute_thread(lambda: None)
    refused = raw.post("/forward_backward", json=forward_backward(run, 1, DATUM))
    assert refused.status_code == 404
    assert saved in refused.json()["error"]
    assert raw.post("/session_heartbeat", json={"session_id": session}).status_code == 200
    assert "error" not in fetch(raw, create(raw, session, 1))


def test_a_session_that_could_not_be_stored_is_made_by_the_retry(
    raw: httpx.Client, running: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StorageError("the disk is full")

    def ask() -> httpx.Response:
        return raw.post(
            "/create_session",
            json={"tags": [], "sdk_version": "t"},
            headers={"x-idempotency-key": "made-by-the-retry"},
        )

    with monkeypatch.context() as patched:
        patched.setattr(running.store, "add_session", full)
        assert ask().status_code == 507
    session = ask().json()["session_id"]
    assert ask().json()["session_id"] == session
    assert raw.post("/session_heartbeat", json={"session_id": session}).status_code == 200
    assert "error" not in fetch(raw, create(raw, session))
    raw.post(f"/sessions/{session}/finish", json={"reason": {"type": "success"}})
    assert ask().json()["session_id"] == session
    refused = raw.post("/session_heartbeat", json={"session_id": session})
    assert "finished (success)" in refused.json()["error"]


def test_unloaded_run_is_gone_and_its_checkpoints_stay(raw: httpx.Client, new_run: NewRun) -> None:
    run = new_run()
    saved = fetch(raw, raw.post("/save_weights", json={"model_id": run, "path": "last"}))["path"]
    result = fetch(raw, raw.post("/unload_model", json={"model_id": run}))
    assert result == {"type": "unload_model", "model_id": run}
    refused = raw.post("/forward_backward", json=forward_backward(run, 1, DATUM))
    assert refused.status_code == 404
    assert saved in refused.json()["error"]
    assert raw.post("/get_info", json={"model_id": run}).json()["lora_rank"] == 4
    assert raw.post("/unload_model", json={"model_id": "nobody:train:0"}).status_code == 404


@pytest.mark.parametrize("content", [b"{}", b"not json", b"\0" * 100_000])
def test_telemetry_is_taken_and_dropped(raw: httpx.Client, content: bytes) -> None:
    assert raw.post("/telemetry", content=content).json() == {"status": "accepted"}


def test_clones_of_a_sampling_client_keep_apart(connection: Connection) -> None:
    base = connection.service_client.create_sampling_client(base_model="nano").result()
    clients = [base, *(pickle.loads(pickle.dumps(base)) for _ in range(2))]
    prompt = tinker.ModelInput.from_ints([5, 6, 7, 8])
    params = tinker.SamplingParams(max_tokens=3, temperature=0.0)
    futures = [client.sample(prompt, 1, params) for client in clients for _ in range(4)]
    answers = [future.result().sequences[0] for future in futures]
    assert all(answer.tokens == answers[0].tokens for answer in answers)
    assert len({answer.sequence_id for answer in answers}) == len(answers)
    joined = {client._cloned_sampler_id for client in clients}
    assert len(joined) == 3


def test_waiting_sample_is_cancelled(
    connection: Connection, raw: httpx.Client, session: str, running: Engine
) -> None:
    body = {"session_id": session, "sampling_session_seq_id": 1, "base_model": "nano"}
    sampler = raw.post("/create_sampling_session", json=body).json()["sampling_session_id"]
    import threading

    from tinker_engine.runtime.futures import Future
    from tinker_engine.runtime.queue import Job

    release = threading.Event()

    def hold() -> dict[str, Any]:
        release.wait(30)
        return {}

    running.queue.submit([Job(Future("held", "internal", "", None), hold)])
    try:
        sent = raw.post(
            "/asample",
            json={
                "sampling_session_id": sampler,
                "seq_id": 0,
                "prompt": {"chunks": [{"tokens": [5, 6]}]},
                "sampling_params": {"max_tokens": 2},
            },
        ).json()
        cancelled = raw.post("/cancel_future", json={"request_id": sent["request_id"]})
        assert cancelled.status_code == 200
        result = raw.post("/retrieve_future", json={"request_id": sent["request_id"]}).json()
        assert result["category"] == "user"
        assert "cancelled" in result["error"]
    finally:
        release.set()
    # Cancelling twice, or what nobody sent, changes nothing.
    for request_id in (sent["request_id"], "nothing"):
        assert raw.post("/cancel_future", json={"request_id": request_id}).status_code == 200
