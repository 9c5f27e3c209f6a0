"""What a client may rely on when answers get lost: repeats, order, refusals, and keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import zstandard
from wire_bodies import fetch, forward_backward, json_datum

from tinker_engine.connect import Connection
from tinker_engine.protocol.results import PROTOBUF

NewRun = Callable[..., str]
DATUM = json_datum([5, 6, 7, 8, 9, 10])
OTHER = json_datum([5, 6, 7, 8, 9, 11])
ADAM = {"learning_rate": 1e-2}


def steps_of(raw: httpx.Client, run_id: str, seq_id: int) -> float:
    answer = raw.post(
        "/optim_step", json={"model_id": run_id, "seq_id": seq_id, "adam_params": ADAM}
    )
    return fetch(raw, answer)["metrics"]["optimizer_step"]


def test_same_request_twice_counts_once(raw: httpx.Client, new_run: NewRun) -> None:
    run = new_run()
    body = forward_backward(run, 1, DATUM)
    first, second = (raw.post("/forward_backward", json=body) for _ in range(2))
    assert first.json() == second.json()
    assert fetch(raw, first) == fetch(raw, second)
    step = {"model_id": run, "seq_id": 2, "adam_params": ADAM}
    results = [fetch(raw, raw.post("/optim_step", json=step)) for _ in range(3)]
    assert [r["metrics"]["optimizer_step"] for r in results] == [1.0, 1.0, 1.0]


def test_changed_payload_is_refused(raw: httpx.Client, new_run: NewRun) -> None:
    run = new_run()
    fetch(raw, raw.post("/forward_backward", json=forward_backward(run, 1, DATUM)))
    answer = raw.post("/forward_backward", json=forward_backward(run, 1, OTHER))
    assert answer.status_code == 422
    assert "another payload" in answer.json()["error"]
    assert answer.json()["category"] == "user"


def test_idempotency_key_without_a_place(raw: httpx.Client, new_run: NewRun) -> None:
    run = new_run()
    headers = {"X-Idempotency-Key": "key-1"}
    body = forward_backward(run, None, DATUM)
    first, second = (raw.post("/forward_backward", json=body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    changed = raw.post(
        "/forward_backward", json=forward_backward(run, None, OTHER), headers=headers
    )
    assert changed.status_code == 422


def test_create_model_and_session_retries(raw: httpx.Client, session_id: str) -> None:
    headers = {"X-Idempotency-Key": "session-key"}
    body: dict[str, Any] = {"tags": [], "sdk_version": "x"}
    one, two = (raw.post("/create_session", json=body, headers=headers).json() for _ in range(2))
    assert one == two
    body = {
        "session_id": one["session_id"],
        "model_seq_id": 0,
        "base_model": "nano",
        "lora_config": {"rank": 2, "seed": 3, "train_unembed": False},
    }
    first, second = (raw.post("/create_model", json=body) for _ in range(2))
    assert first.json() == second.json()
    assert fetch(raw, first)["model_id"] == f"{one['session_id']}:train:0"
    body["lora_config"] = {"rank": 3, "seed": 3, "train_unembed": False}
    assert raw.post("/create_model", json=body).status_code == 422
    assert session_id != one["session_id"]


def test_order_is_that_of_the_places(raw: httpx.Client, new_run: NewRun) -> None:
    run, twin = new_run(), new_run()
    for name, order in ((run, (4, 2, 3, 1)), (twin, (1, 2, 3, 4))):
        bodies = {
            1: ("/forward_backward", forward_backward(name, 1, DATUM)),
            2: ("/optim_step", {"model_id": name, "seq_id": 2, "adam_params": ADAM}),
            3: ("/forward_backward", forward_backward(name, 3, OTHER)),
            4: ("/optim_step", {"model_id": name, "seq_id": 4, "adam_params": ADAM}),
        }
        answers = {seq: raw.post(bodies[seq][0], json=bodies[seq][1]) for seq in order}
        assert [fetch(raw, answers[s])["metrics"]["optimizer_step"] for s in (2, 4)] == [1.0, 2.0]
    body = {"forward_input": {"data": [DATUM], "loss_fn": "cross_entropy"}, "seq_id": 5}
    losses = [
        fetch(raw, raw.post("/forward", json={**body, "model_id": name}))["metrics"]["loss:sum"]
        for name in (run, twin)
    ]
    assert losses[0] == losses[1]


def test_refused_request_leaves_no_gap(raw: httpx.Client, new_run: NewRun) -> None:
    run = new_run()
    fetch(raw, raw.post("/forward_backward", json=forward_backward(run, 1, DATUM)))
    bad = forward_backward(run, 2, DATUM)
    bad["forward_backward_input"]["loss_fn"] = "mse"
    refused = raw.post("/forward_backward", json=bad)
    assert refused.status_code == 400
    assert "cross_entropy" in refused.json()["error"]
    nan_rate = {"model_id": run, "seq_id": 3, "optimizer_params": {"type": "dimuon"}}
    assert raw.post("/optim_step", json=nan_rate).status_code == 400
    assert steps_of(raw, run, 4) == 1.0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"target_tokens": {"data": [1, 2], "dtype": "int64", "shape": [2]}}, "expected [5]"),
        ({"target_tokens": {"data": [1, 2, 3, 4, 10**6], "dtype": "int64"}}, "expected ids from 0"),
        ({"weights": {"data": [1.0] * 5, "dtype": "float32", "shape": [4]}}, "does not hold"),
        ({"advantages": {"data": [1.0] * 5, "dtype": "float32"}}, "advantages"),
    ],
)
def test_bad_data_is_named(
    raw: httpx.Client, new_run: NewRun, change: dict[str, Any], expected: str
) -> None:
    datum = json_datum([5, 6, 7, 8, 9, 10])
    datum["loss_fn_inputs"].update(change)
    answer = raw.post("/forward_backward", json=forward_backward(new_run(), 1, DATUM, datum))
    assert answer.status_code == 400
    assert "data[1]" in answer.json()["error"]
    assert expected in answer.json()["error"]


def test_protobuf_and_json_give_the_same(raw: httpx.Client, new_run: NewRun) -> None:
    from tinker.proto import tinker_public_pb2 as public_pb
    from tinker.proto.response_conv import deserialize_forward_backward_output

    run = new_run()
    as_json = fetch(raw, raw.post("/forward_backward", json=forward_backward(run, 1, DATUM)))
    message = public_pb.ForwardBackwardRequest(model_id=run, seq_id=2, loss_fn="cross_entropy")
    datum = message.data.add()
    datum.model_input.add().encoded_text.tokens = _int32([5, 6, 7, 8, 9])
    target = datum.loss_fn_inputs["target_tokens"]
    target.dtype, target.dense = public_pb.DTYPE_INT32, _int32([6, 7, 8, 9, 10])
    target.shape.append(5)
    body = message.SerializeToString()
    headers = {"Content-Type": PROTOBUF}
    plain = raw.post("/forward_backward", content=body, headers=headers)
    packed = raw.post(
        "/forward_backward",
        content=zstandard.ZstdCompressor().compress(body),
        headers={**headers, "Content-Encoding": "zstd"},
    )
    assert plain.json() == packed.json()
    output = deserialize_forward_backward_output(fetch(raw, plain, accept=PROTOBUF))
    assert output.metrics["loss:sum"] == as_json["metrics"]["loss:sum"]
    assert (
        output.loss_fn_outputs[0]["logprobs"].tolist()
        == as_json["loss_fn_outputs"][0]["logprobs"]["data"]
    )


def _int32(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"{}", b"[1, 2"])
@pytest.mark.parametrize("content_type", [PROTOBUF, "application/json"])
def test_broken_bodies_are_user_errors(
    raw: httpx.Client, content: bytes, content_type: str
) -> None:
    answer = raw.post("/forward_backward", content=content, headers={"Content-Type": content_type})
    assert answer.status_code in (400, 404)
    assert answer.json()["category"] == "user"


def test_zstd_bomb_is_refused(raw: httpx.Client) -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (80 * 1024 * 1024))
    headers = {"Content-Type": PROTOBUF, "Content-Encoding": "zstd"}
    answer = raw.post("/forward_backward", content=bomb, headers=headers)
    assert answer.status_code == 413
    broken = raw.post("/forward_backward", content=b"nonsense", headers=headers)
    assert broken.status_code == 400
    plain = {"Content-Type": "application/json"}
    for path in ("/forward_backward", "/asample", "/create_session"):
        assert raw.post(path, content=b" " * (65 << 20), headers=plain).status_code == 413


def test_step_without_gradients_fails_typed(raw: httpx.Client, new_run: NewRun) -> None:
    answer = raw.post("/optim_step", json={"model_id": new_run(), "seq_id": 1, "adam_params": ADAM})
    result = fetch(raw, answer)
    assert result["category"] == "user"
    assert result["error"]


@pytest.mark.parametrize("key", ["", "tml-wrong", "tml-" + "x" * 43])
def test_wrong_key_reaches_nothing(connection: Connection, key: str) -> None:
    base = f"{connection.base_url}/api/v1"
    for method, path in (
        ("POST", "/create_session"),
        ("GET", "/training_runs"),
        ("GET", "/engine/base"),
        ("POST", "/retrieve_future"),
        ("GET", "/nothing"),
    ):
        answer = httpx.request(method, base + path, headers={"X-API-Key": key}, trust_env=False)
        assert answer.status_code == 401
        assert "nano" not in answer.text
    assert httpx.get(f"{base}/healthz", trust_env=False).json() == {"status": "ok"}


def test_bearer_token_is_a_key_too(connection: Connection) -> None:
    headers = {"Authorization": f"Bearer {connection.api_key}"}
    url = f"{connection.base_url}/api/v1/engine/base"
    assert httpx.get(url, headers=headers, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/save_weights_external", {}, 400),
        ("/copy_weights", {"source_path": "tinker://a/b"}, 400),
        ("/copy_weights", {"source_path": "tinker://abc:train:0/weights/x"}, 400),
        ("/create_custom_loss", {}, 400),
        ("/no_such_route", {}, 404),
        ("/retrieve_future", {"request_id": "unknown"}, 404),
        ("/create_model", {"session_id": "s", "model_seq_id": 0, "base_model": "nano"}, 404),
        ("/load_weights", {"path": "tinker://a/b", "optimizer": True}, 400),
        ("/weights_info", {"tinker_path": "tinker://abc:train:0/weights/../x"}, 400),
        ("/weights_info", {"tinker_path": "tinker://abc:train:0/weights/x"}, 404),
    ],
)
def test_refusals_are_typed(
    raw: httpx.Client, path: str, body: dict[str, Any], status: int
) -> None:
    answer = raw.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["category"] == "user"
    assert len(answer.json()["error"]) > 20


def test_unknown_base_model_lists_the_offer(raw: httpx.Client, session_id: str) -> None:
    body = {"session_id": session_id, "model_seq_id": 999, "base_model": "llama-3.3-70b"}
    answer = raw.post("/create_model", json=body)
    assert answer.status_code == 404
    assert "nano" in answer.json()["error"]


def test_pending_request_is_try_again_and_cancel_ends_it(
    raw: httpx.Client, session_id: str, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinker_engine.server import future_routes

    monkeypatch.setattr(future_routes, "LONG_POLL_S", 0.2)
    run = new_run()
    # Place 2 waits for place 1, so it stays pending.
    held = raw.post("/optim_step", json={"model_id": run, "seq_id": 2, "adam_params": ADAM}).json()
    began = time.monotonic()
    answer = raw.post("/retrieve_future", json={"request_id": held["request_id"]})
    assert answer.status_code == 408
    assert answer.json()["type"] == "try_again"
    assert time.monotonic() - began >= 0.2
    assert raw.post("/cancel_future", json={"request_id": held["request_id"]}).status_code == 200
