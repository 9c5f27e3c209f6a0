"""Over bare HTTP: one of everything that a key can own, and how it looks to its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

TOKENS = [5, 6, 7, 8]
# The name of every checkpoint.
NAME = "mine"
_TIMEOUT_S = 60.0


def client(base_url: str, key: str) -> httpx.Client:
    """A client with a key."""
    return httpx.Client(
        base_url=base_url,
        headers={"X-API-Key": key},
        timeout=_TIMEOUT_S,
        trust_env=False,
    )


def post(http: httpx.Client, route: str, body: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a successful answer."""
    answer = http.post(f"/api/v1{route}", json=body)
    if not answer.is_success:
        raise RuntimeError(f"{route} answered {answer.status_code}: {answer.text}")
    return answer.json()


def result(http: httpx.Client, submitted: dict[str, Any]) -> dict[str, Any]:
    """The result of a submitted request."""
    while True:
        body = {"request_id": submitted["request_id"]}
        answer = http.post("/api/v1/retrieve_future", json=body)
        if answer.status_code != 408:
            return answer.json()


@dataclass(frozen=True)
class Belongings:
    """Ids and paths of one owner, one of each kind."""

    session_id: str
    run_id: str
    request_id: str
    sampler_id: str
    sample_id: str
    state_path: str
    sampler_path: str


def make(http: httpx.Client, mark: str) -> Belongings:
    """Open a session, train a step, save twice, sample; `mark` is in all names and metadata."""
    session = {"tags": [], "display_name": mark, "user_metadata": {"note": mark}}
    session_id = post(http, "/create_session", session)["session_id"]
    new = {
        "session_id": session_id,
        "model_seq_id": 0,
        "base_model": "nano",
        "lora_config": {"rank": 2, "train_unembed": False},
        "user_metadata": {"note": mark},
    }
    run_id = result(http, post(http, "/create_model", new))["model_id"]
    trained = post(http, "/forward_backward", forward_backward(run_id, 1))
    result(http, trained)
    result(http, post(http, "/optim_step", {"model_id": run_id, "seq_id": 2, "adam_params": {}}))
    paths: list[str] = []
    for seq_id, route in enumerate(("/save_weights", "/save_weights_for_sampler"), 3):
        body = {"model_id": run_id, "seq_id": seq_id, "path": NAME}
        paths.append(result(http, post(http, route, body))["path"])
    sampling = {"session_id": session_id, "sampling_session_seq_id": 0, "model_path": paths[1]}
    sampler_id = post(http, "/create_sampling_session", sampling)["sampling_session_id"]
    sampled = post(http, "/asample", sample(sampler_id, 1))
    result(http, sampled)
    return Belongings(
        session_id, run_id, trained["request_id"], sampler_id, sampled["request_id"], *paths
    )


def forward_backward(run_id: str, seq_id: int | None) -> dict[str, Any]:
    """The JSON body of a forward_backward on one example."""
    count = len(TOKENS) - 1
    datum = {
        "model_input": {"chunks": [{"type": "encoded_text", "tokens": TOKENS[:-1]}]},
        "loss_fn_inputs": {
            "target_tokens": {"data": TOKENS[1:], "dtype": "int64", "shape": [count]},
            "weights": {"data": [1.0] * count, "dtype": "float32", "shape": [count]},
        },
    }
    data = {"data": [datum], "loss_fn": "cross_entropy"}
    return {"model_id": run_id, "seq_id": seq_id, "forward_backward_input": data}


def sample(sampler_id: str, seq_id: int, max_tokens: int = 2) -> dict[str, Any]:
    """The JSON body of an asample."""
    return {
        "sampling_session_id": sampler_id,
        "seq_id": seq_id,
        "num_samples": 1,
        "prompt": {"chunks": [{"type": "encoded_text", "tokens": TOKENS}]},
        "sampling_params": {"max_tokens": max_tokens, "temperature": 1.0, "seed": 1, "stop": []},
    }


def view(http: httpx.Client, things: Belongings) -> list[Any]:
    """What the owner sees of its things; the same as long as nobody touches them.

    Results aren't among them: a fetched one is kept for two minutes.
    """
    run = f"/api/v1/training_runs/{things.run_id}"
    checkpoint = f"{things.run_id}/checkpoints/sampler_weights/{NAME}"
    seen = [
        http.get(f"/api/v1/sessions/{things.session_id}"),
        http.get(run + "/checkpoints"),
        http.get(f"/api/v1/engine/runs/{checkpoint}/files"),
        http.post("/api/v1/get_info", json={"model_id": things.run_id}),
    ]
    return [(answer.status_code, answer.json()) for answer in seen]
