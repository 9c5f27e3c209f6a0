"""Requests as bare JSON, and fetching their results."""

from __future__ import annotations

from typing import Any

import httpx


def fetch(raw: httpx.Client, answer: httpx.Response, accept: str = "application/json") -> Any:
    """The finished result of a submitted request."""
    assert answer.status_code == 200, answer.text
    request_id = answer.json()["request_id"]
    for _ in range(10):
        result = raw.post(
            "/retrieve_future", json={"request_id": request_id}, headers={"Accept": accept}
        )
        if result.status_code != 408:
            return result.json() if "json" in result.headers["content-type"] else result.content
    raise AssertionError("the request was not finished in time")


def json_datum(tokens: list[int]) -> dict[str, Any]:
    """A datum that teaches a token sequence, in the JSON form of older SDKs."""
    length = len(tokens) - 1
    return {
        "model_input": {"chunks": [{"type": "encoded_text", "tokens": tokens[:-1]}]},
        "loss_fn_inputs": {
            "target_tokens": {"data": tokens[1:], "dtype": "int64", "shape": [length]},
            "weights": {"data": [1.0] * length, "dtype": "float32", "shape": [length]},
        },
    }


def forward_backward(run_id: str, seq_id: int | None, *data: dict[str, Any]) -> dict[str, Any]:
    """The JSON body of a forward_backward."""
    return {
        "model_id": run_id,
        "seq_id": seq_id,
        "forward_backward_input": {"data": list(data), "loss_fn": "cross_entropy"},
    }
