"""Sampling over bare HTTP: completions of a session, cancelling, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from wire_bodies import fetch

from tinker_engine.protocol.results import PROTOBUF


@pytest.fixture(scope="module")
def sampler(raw: httpx.Client, session_id: str) -> str:
    body = {"session_id": session_id, "sampling_session_seq_id": 5000, "base_model": "nano"}
    first, second = (raw.post("/create_sampling_session", json=body).json() for _ in range(2))
    assert first == second
    return first["sampling_session_id"]


def sample(sampler: str, seq_id: int, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "sampling_session_id": sampler,
        "seq_id": seq_id,
        "prompt": {"chunks": [{"type": "encoded_text", "tokens": [5, 6, 7, 8]}]},
        "sampling_params": {"max_tokens": 3, "temperature": 0.0},
    }
    return {**body, **more}


def test_json_and_protobuf_give_the_same(raw: httpx.Client, sampler: str) -> None:
    from tinker.proto.response_conv import deserialize_sample_response

    answer = raw.post("/asample", json=sample(sampler, 1, num_samples=2, prompt_logprobs=True))
    assert len(answer.json()["sample_sequence_ids"]) == 2
    as_json = fetch(raw, answer)
    as_proto = deserialize_sample_response(fetch(raw, answer, accept=PROTOBUF))
    assert [s["tokens"] for s in as_json["sequences"]] == [s.tokens for s in as_proto.sequences]
    assert as_json["prompt_logprobs"][0] is None
    assert as_proto.prompt_logprobs is not None
    assert as_proto.prompt_logprobs[0] is None
    assert as_proto.prompt_logprobs[1:] == pytest.approx(as_json["prompt_logprobs"][1:], rel=1e-6)


def test_repeated_sample_is_one_request(raw: httpx.Client, sampler: str) -> None:
    body = sample(sampler, 2, sampling_params={"max_tokens": 4, "temperature": 1.0})
    answers = [raw.post("/asample", json=body) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert fetch(raw, answers[0]) == fetch(raw, answers[1])
    body["sampling_params"]["max_tokens"] = 5
    assert raw.post("/asample", json=body).status_code == 422


def test_completions_are_reported_once(raw: httpx.Client, session_id: str) -> None:
    body = {"session_id": session_id, "sampling_session_seq_id": 5001, "base_model": "nano"}
    mine = raw.post("/create_sampling_session", json=body).json()["sampling_session_id"]
    sent = {raw.post("/asample", json=sample(mine, i)).json()["request_id"] for i in range(5)}
    target = {"type": "sampling_session", "sampling_session_id": mine, "cloned_sampler_id": 0}
    seen: list[str] = []
    cursor = 0
    while len(seen) < 5:
        poll: dict[str, Any] = {"target": target, "prev_cursor": cursor}
        answer = raw.post("/retrieve_futures", json=poll).json()
        seen += [completion["request_id"] for completion in answer["completions"]]
        assert all(c["state"] == "finished" for c in answer["completions"])
        cursor = answer["cursor"]
    assert sorted(seen) == sorted(sent)
    last = {"target": target, "prev_cursor": cursor, "timeout": 0, "retrieved_request_ids": seen}
    assert raw.post("/retrieve_futures", json=last).json() == {"completions": [], "cursor": cursor}
    assert raw.post("/retrieve_future", json={"request_id": seen[0]}).status_code == 410


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"topk_sample_logprobs": 129}, "topk_sample_logprobs"),
        ({"prompt_alt_tokens_k": 129}, "prompt_alt_tokens_k"),
        ({"record_stability_info": True}, "record_stability_info"),
        ({"prompt": {"chunks": []}}, "0 tokens"),
        ({"prompt": {"chunks": [{"tokens": [1] * 100_000}]}}, "context"),
        ({"prompt": {"chunks": [{"tokens": [10**7]}]}}, "expected ids"),
        ({"prompt": {"chunks": [{"type": "image", "data": "x"}]}}, "encoded_text"),
        ({"sampling_params": {"temperature": -1}}, "temperature"),
        ({"sampling_params": {"top_p": 0}}, "top_p"),
        ({"sampling_params": {"top_k": 0}}, "top_k"),
        ({"num_samples": 0}, "num_samples"),
        ({"prompt_logprobs": True, "prompt_logprobs_last_n": 4}, "prompt_logprobs_last_n"),
    ],
)
def test_refusals_name_the_field(
    raw: httpx.Client, sampler: str, more: dict[str, Any], expected: str
) -> None:
    answer = raw.post("/asample", json=sample(sampler, 100, **more))
    assert answer.status_code == 400
    assert expected in answer.json()["error"]


def test_long_generation_ends_at_the_context(raw: httpx.Client, sampler: str) -> None:
    limit = raw.get("/engine/base").json()["max_context"]
    prompt = {"chunks": [{"tokens": [5] * (limit - 1)}]}
    params = {"max_tokens": 50, "temperature": 0.0}
    answer = raw.post("/asample", json=sample(sampler, 3, prompt=prompt, sampling_params=params))
    assert 1 <= len(fetch(raw, answer)["sequences"][0]["tokens"]) <= 2


def test_sessions_and_unknown_samplers(raw: httpx.Client, sampler: str, session_id: str) -> None:
    members = raw.get(f"/sessions/{session_id}").json()
    assert sampler in members["sampler_ids"]
    assert session_id in raw.get("/sessions", params={"limit": 1000}).json()["sessions"]
    # A name that the SDK's get_tokenizer finds without a network.
    base = raw.get("/engine/base").json()
    assert raw.get(f"/samplers/{sampler}").json()["base_model"] == base["path"]
    assert raw.get("/samplers/none").status_code == 404
    assert raw.post("/asample", json=sample("none", 1)).status_code == 404
    counters = [
        raw.post("/join_sampling_session", json={"sampling_session_id": sampler}).json()
        for _ in range(2)
    ]
    assert counters[1]["client_counter"] == counters[0]["client_counter"] + 1


def test_finished_session_lets_go(raw: httpx.Client) -> None:
    new = raw.post("/create_session", json={"tags": [], "sdk_version": "t"}).json()["session_id"]
    body = {"session_id": new, "sampling_session_seq_id": 0, "base_model": "nano"}
    mine = raw.post("/create_sampling_session", json=body).json()["sampling_session_id"]
    fetch(raw, raw.post("/asample", json=sample(mine, 0)))
    done = raw.post(f"/sessions/{new}/finish", json={"reason": {"type": "success"}})
    assert done.status_code == 200
    assert raw.post("/asample", json=sample(mine, 1)).status_code == 404
    target = {"type": "sampling_session", "sampling_session_id": mine}
    poll = raw.post("/retrieve_futures", json={"target": target, "timeout": 0})
    assert len(poll.json()["completions"]) == 1
