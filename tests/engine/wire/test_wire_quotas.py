"""Quotas of a key: refused with numbers, given back when work ends, nobody else's concern."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from test_wire_owners import make_run, open_session, sample
from wire_bodies import fetch, forward_backward, json_datum

if TYPE_CHECKING:
    from conftest import KeyedServer

TOKENS = list(range(5, 25))


def test_runs_in_memory(keyed: KeyedServer) -> None:
    client = keyed.new_client("few-runs", max_runs=1)
    session_id = open_session(client)
    first = make_run(client, session_id, 0)
    run_id = fetch(client, first)["model_id"]
    refused = make_run(client, session_id, 1)
    assert refused.status_code == 403
    assert "2 runs in memory, and may have 1" in refused.json()["error"]
    assert refused.json()["category"] == "user"
    # A retry of what is there already is no further run.
    assert make_run(client, session_id, 0).json() == first.json()
    other = keyed.new_client("other-runs")
    assert make_run(other, open_session(other), 0).status_code == 200
    fetch(client, client.post("/unload_model", json={"model_id": run_id}))
    assert make_run(client, session_id, 1).status_code == 200


def test_tokens_in_flight(keyed: KeyedServer) -> None:
    client = keyed.new_client("few-tokens", max_tokens_in_flight=30)
    session_id = open_session(client)
    run_id = fetch(client, make_run(client, session_id, 0))["model_id"]
    large = forward_backward(run_id, 1, json_datum(TOKENS), json_datum(TOKENS))
    refused = client.post("/forward_backward", json=large)
    assert (refused.status_code, "38 tokens" in refused.json()["error"]) == (403, True)
    # Place 2 is held back until 1 arrives, and holds its tokens meanwhile.
    second = client.post("/forward_backward", json=forward_backward(run_id, 2, json_datum(TOKENS)))
    third = client.post("/forward_backward", json=forward_backward(run_id, 3, json_datum(TOKENS)))
    assert third.status_code == 429
    assert int(third.headers["Retry-After"]) >= 1
    assert "19 tokens of this key are in flight" in third.json()["error"]
    assert client.get("/engine/status").json()["key"]["tokens_in_flight"] == 19
    # A repeated request asks for no more, and the one that the others wait for is let in.
    again = client.post("/forward_backward", json=forward_backward(run_id, 2, json_datum(TOKENS)))
    assert again.json() == second.json()
    first = client.post("/forward_backward", json=forward_backward(run_id, 1, json_datum(TOKENS)))
    for answer in (first, second):
        assert "metrics" in fetch(client, answer)
    assert client.get("/engine/status").json()["key"]["tokens_in_flight"] == 0
    third = client.post("/forward_backward", json=forward_backward(run_id, 3, json_datum(TOKENS)))
    assert "metrics" in fetch(client, third)
    # What waits for a request that never comes gives its tokens back with the run.
    lonely = client.post("/forward_backward", json=forward_backward(run_id, 9, json_datum(TOKENS)))
    assert client.get("/engine/status").json()["key"]["tokens_in_flight"] == 19
    fetch(client, client.post("/unload_model", json={"model_id": run_id}))
    assert "never arrived" in fetch(client, lonely)["error"]
    assert client.get("/engine/status").json()["key"]["tokens_in_flight"] == 0


def test_sampling_counts_what_it_may_generate(keyed: KeyedServer) -> None:
    client = keyed.new_client("few-samples", max_tokens_in_flight=30)
    session_id = open_session(client)
    body = {"session_id": session_id, "sampling_session_seq_id": 0, "base_model": "nano"}
    sampler_id = client.post("/create_sampling_session", json=body).json()["sampling_session_id"]
    refused = client.post("/asample", json=sample(sampler_id, 1, max_tokens=27))
    assert (refused.status_code, "31 tokens" in refused.json()["error"]) == (403, True)
    assert "sequences" in fetch(
        client, client.post("/asample", json=sample(sampler_id, 1, max_tokens=26))
    )
    status = client.get("/engine/status").json()["key"]
    assert (status["tokens_in_flight"], status["max_tokens_in_flight"]) == (0, 30)


def test_prompts_of_one_request_are_held_together(keyed: KeyedServer) -> None:
    client = keyed.new_client("few-prompts", max_tokens_in_flight=30)
    place = f"{keyed.host.base_url}/v1/completions"
    key = {"Authorization": f"Bearer {client.headers['X-API-Key']}"}

    def ask(prompts: int) -> httpx.Response:
        body = {"model": "nano", "prompt": [[5, 6, 7, 8]] * prompts, "max_tokens": 6}
        return client.post(place, json=body, headers=key)

    for _ in range(2):
        refused = ask(4)
        assert (refused.status_code, "40 tokens" in refused.text) == (403, True)
    answered = ask(3)
    assert answered.status_code == 200
    assert len(answered.json()["choices"]) == 3
    assert client.get("/engine/status").json()["key"]["tokens_in_flight"] == 0


def test_disk(keyed: KeyedServer) -> None:
    free = keyed.new_client("much-disk")
    run_id = fetch(free, make_run(free, open_session(free), 0))["model_id"]
    saved = fetch(free, free.post("/save_weights", json=_save(run_id, 1, "a")))
    size = free.get("/checkpoints").json()["checkpoints"][0]["size_bytes"]
    client = keyed.new_client("little-disk", max_disk_bytes=size + size // 2)
    session_id = open_session(client)
    run_id = fetch(client, make_run(client, session_id, 0))["model_id"]
    assert "path" in fetch(client, client.post("/save_weights", json=_save(run_id, 1, "a")))
    refused = fetch(client, client.post("/save_weights", json=_save(run_id, 2, "b")))
    assert refused["category"] == "user"
    assert f"and may take {size + size // 2}" in refused["error"]
    listed = client.get("/checkpoints").json()["checkpoints"]
    assert [c["checkpoint_id"] for c in listed] == ["weights/a"]
    assert client.get("/engine/status").json()["key"]["disk_bytes"] == listed[0]["size_bytes"]
    # Overwriting frees what it replaces.
    again = _save(run_id, 3, "a") | {"overwrite": True}
    assert "path" in fetch(client, client.post("/save_weights", json=again))
    copied = client.post(
        "/copy_weights",
        json={"source_path": listed[0]["tinker_path"], "destination_project_id": "p"},
    )
    assert copied.status_code == 403
    snapshots = [fetch(client, _snapshot(client, run_id, n)) for n in range(4, 40)]
    assert "sampling_session_id" in snapshots[0]
    assert "and may take" in snapshots[-1]["error"]
    assert saved["path"].endswith("/weights/a")


def test_refusals_are_counted_and_name_nobody(keyed: KeyedServer) -> None:
    client = keyed.client(keyed.own_key)
    text = httpx.get(
        f"{keyed.host.base_url}/metrics", headers={"X-API-Key": keyed.own_key}, trust_env=False
    ).text
    assert 'tinker_engine_refusals_total{quota="tokens"}' in text
    assert "few-tokens" not in text
    assert "key-" not in text
    assert client.get("/engine/status").json()["key"]["max_runs"] is None


def _save(run_id: str, seq_id: int, name: str) -> dict[str, object]:
    return {"model_id": run_id, "seq_id": seq_id, "path": name}


def _snapshot(client: httpx.Client, run_id: str, number: int) -> httpx.Response:
    body = {"model_id": run_id, "seq_id": number, "sampling_session_seq_id": number}
    return client.post("/save_weights_for_sampler", json=body)
