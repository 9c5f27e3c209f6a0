"""Several keys on one server: what one makes, another can't reach, count, or tell from nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from wire_bodies import fetch, forward_backward, json_datum

from tinker_engine.cli import main
from tinker_engine.errors import RequestError
from tinker_engine.runtime.callers import Limits

if TYPE_CHECKING:
    from conftest import KeyedServer

TOKENS = [5, 6, 7, 8]


def make_run(client: httpx.Client, session_id: str, number: int) -> httpx.Response:
    body = {
        "session_id": session_id,
        "model_seq_id": number,
        "base_model": "nano",
        "lora_config": {"rank": 2, "train_unembed": False},
    }
    return client.post("/create_model", json=body)


def open_session(client: httpx.Client, **headers: str) -> str:
    answer = client.post("/create_session", json={"tags": []}, headers=headers)
    return answer.json()["session_id"]


@dataclass
class Belongings:
    """One of everything that a key can own."""

    session_id: str
    run_id: str
    request_id: str
    sampler_id: str
    sample_id: str
    state_path: str
    sampler_path: str


def belongings(client: httpx.Client) -> Belongings:
    session_id = open_session(client)
    run_id = fetch(client, make_run(client, session_id, 0))["model_id"]
    trained = client.post("/forward_backward", json=forward_backward(run_id, 1, json_datum(TOKENS)))
    fetch(client, trained)
    paths = []
    for number, route in enumerate(("save_weights", "save_weights_for_sampler"), 2):
        body = {"model_id": run_id, "seq_id": number, "path": "mine"}
        paths.append(fetch(client, client.post(f"/{route}", json=body))["path"])
    body = {"session_id": session_id, "sampling_session_seq_id": 0, "model_path": paths[1]}
    sampler_id = client.post("/create_sampling_session", json=body).json()["sampling_session_id"]
    sampled = client.post("/asample", json=sample(sampler_id, 1))
    fetch(client, sampled)
    return Belongings(
        session_id,
        run_id,
        trained.json()["request_id"],
        sampler_id,
        sampled.json()["request_id"],
        *paths,
    )


def sample(sampler_id: str, seq_id: int, max_tokens: int = 2) -> dict[str, Any]:
    return {
        "sampling_session_id": sampler_id,
        "seq_id": seq_id,
        "num_samples": 1,
        "prompt": {"chunks": [{"type": "encoded_text", "tokens": TOKENS}]},
        "sampling_params": {"max_tokens": max_tokens, "stop": []},
    }


@pytest.fixture(scope="module")
def ann(keyed: KeyedServer) -> httpx.Client:
    return keyed.new_client("ann")


@pytest.fixture(scope="module")
def eve(keyed: KeyedServer) -> httpx.Client:
    return keyed.new_client("eve")


@pytest.fixture(scope="module")
def hers(ann: httpx.Client) -> Belongings:
    return belongings(ann)


def reach(things: Belongings) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Every way to ask for somebody's things."""
    run, checkpoint = things.run_id, "checkpoints/weights/mine"
    place = f"/training_runs/{run}/{checkpoint}"
    moment = {"model_id": run, "seq_id": 9}
    return [
        ("GET", f"/sessions/{things.session_id}", None),
        ("POST", "/session_heartbeat", {"session_id": things.session_id}),
        ("POST", f"/sessions/{things.session_id}/finish", {}),
        ("POST", "/create_model", {**_new(things), "lora_config": {"rank": 2}}),
        ("POST", "/load_weights", {**_new(things), "path": things.state_path}),
        ("POST", "/load_weights", {**moment, "path": things.state_path}),
        ("POST", "/get_info", {"model_id": run}),
        ("POST", "/unload_model", {"model_id": run}),
        ("POST", "/forward", _as_forward(forward_backward(run, 9, json_datum(TOKENS)))),
        ("POST", "/forward_backward", forward_backward(run, 9, json_datum(TOKENS))),
        ("POST", "/optim_step", {**moment, "adam_params": {}}),
        ("POST", "/save_weights", {**moment, "path": "hers"}),
        ("POST", "/save_weights_for_sampler", {**moment, "path": "hers"}),
        ("POST", "/save_weights_for_sampler", {**moment, "sampling_session_seq_id": 4}),
        ("POST", "/save_weights_external", {**moment, "path": "hers"}),
        ("POST", "/weights_info", {"tinker_path": things.state_path}),
        ("POST", "/retrieve_future", {"request_id": things.request_id}),
        ("POST", "/retrieve_future", {"request_id": things.sample_id}),
        ("POST", "/retrieve_future", {"request_id": f"{run}:create"}),
        ("POST", "/retrieve_futures", {"target": {"sampling_session_id": things.sampler_id}}),
        ("POST", "/asample", sample(things.sampler_id, 5)),
        ("POST", "/join_sampling_session", {"sampling_session_id": things.sampler_id}),
        ("POST", "/create_sampling_session", _sampling(things, things.sampler_path)),
        ("GET", f"/samplers/{things.sampler_id}", None),
        (
            "POST",
            "/copy_weights",
            {"source_path": things.state_path, "destination_project_id": "p"},
        ),
        ("GET", f"/training_runs/{run}", None),
        ("GET", f"/training_runs/{run}/checkpoints", None),
        ("PUT", f"{place}/ttl", {"ttl_seconds": 3600}),
        ("POST", f"{place}/publish", None),
        ("DELETE", f"{place}/publish", None),
        ("GET", f"{place}/archive", None),
        ("GET", f"{place}/external_weights_urls", None),
        ("GET", f"/engine/runs/{run}/{checkpoint}/files", None),
        ("GET", f"/engine/runs/{run}/{checkpoint}/files/adapter_config.json", None),
        ("GET", f"/engine/runs/{run}/privacy", None),
        ("DELETE", place, None),
    ]


def _new(things: Belongings) -> dict[str, Any]:
    return {"session_id": things.session_id, "model_seq_id": 7, "base_model": "nano"}


def _as_forward(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "forward_input": body["forward_backward_input"]}


def _sampling(things: Belongings, path: str) -> dict[str, Any]:
    return {
        "session_id": things.session_id,
        "sampling_session_seq_id": 8,
        "model_path": path,
    }


def test_nothing_of_another_key_is_reached(
    ann: httpx.Client, eve: httpx.Client, hers: Belongings
) -> None:
    nothing = Belongings(
        session_id="0" * 32,
        run_id=f"{'0' * 32}:train:0",
        request_id=f"{'0' * 32}:train:0:1",
        sampler_id=f"{'0' * 32}:sample:0",
        sample_id=f"{'0' * 32}:sample:0:1",
        state_path=f"tinker://{'0' * 32}:train:0/weights/mine",
        sampler_path=f"tinker://{'0' * 32}:train:0/sampler_weights/mine",
    )
    for asked, unknown in zip(reach(hers), reach(nothing), strict=True):
        method, path, body = asked
        answer = eve.request(method, path, json=body)
        assert answer.status_code == 404, (asked, answer.text)
        # What is another's looks exactly like what isn't there.
        blank = eve.request(unknown[0], unknown[1], json=unknown[2])
        assert blank.status_code == 404
        names = (hers.session_id, "0" * 32)
        assert answer.json()["error"] == blank.json()["error"].replace(*reversed(names))
    for path in ("/sessions", "/training_runs", "/checkpoints"):
        assert hers.session_id not in eve.get(path).text
        assert hers.session_id in ann.get(path).text
    assert eve.get("/training_runs").json()["cursor"]["total_count"] == 0
    assert eve.get("/checkpoints").json()["cursor"]["total_count"] == 0
    # And nothing happened to it.
    assert (
        ann.get(f"/training_runs/{hers.run_id}/checkpoints").json()["checkpoints"][0]["expires_at"]
        is None
    )
    again = ann.post("/retrieve_future", json={"request_id": hers.sample_id})
    assert again.status_code == 200


def test_another_keys_checkpoint_is_not_loaded_through_a_session_of_ones_own(
    eve: httpx.Client, hers: Belongings
) -> None:
    session_id = open_session(eve)
    run_id = fetch(eve, make_run(eve, session_id, 0))["model_id"]
    body = {"model_id": run_id, "seq_id": 1, "path": hers.state_path}
    assert "does not exist" in fetch(eve, eve.post("/load_weights", json=body))["error"]
    new = {"session_id": session_id, "model_seq_id": 1, "path": hers.state_path}
    assert eve.post("/load_weights", json=new).status_code == 404
    sampling = {**new, "sampling_session_seq_id": 1, "model_path": hers.sampler_path}
    assert eve.post("/create_sampling_session", json=sampling).status_code == 404


def test_results_of_another_key_are_neither_dropped_nor_cancelled(
    ann: httpx.Client, eve: httpx.Client, hers: Belongings
) -> None:
    session_id = open_session(eve)
    mine = {"session_id": session_id, "sampling_session_seq_id": 0, "base_model": "nano"}
    sampler_id = eve.post("/create_sampling_session", json=mine).json()["sampling_session_id"]
    body = {
        "target": {"sampling_session_id": sampler_id},
        "timeout": 0,
        "retrieved_request_ids": [hers.sample_id],
    }
    assert eve.post("/retrieve_futures", json=body).status_code == 200
    assert eve.post("/cancel_future", json={"request_id": hers.sample_id}).status_code == 200
    kept = ann.post("/retrieve_future", json={"request_id": hers.sample_id})
    assert "sequences" in kept.json()


def test_the_same_retry_key_of_two_owners_is_two_requests(
    ann: httpx.Client, eve: httpx.Client, hers: Belongings
) -> None:
    same = {"X-Idempotency-Key": "the-same"}
    sessions = [open_session(client, **same) for client in (ann, eve)]
    assert sessions[0] != sessions[1]
    assert sessions == [open_session(client, **same) for client in (ann, eve)]
    theirs = belongings(eve)
    copies = [
        client.post(
            "/copy_weights",
            json={"source_path": path, "destination_project_id": "p"},
            headers=same,
        ).json()["tinker_path"]
        for client, path in ((ann, hers.state_path), (eve, theirs.state_path))
    ]
    assert copies[0] != copies[1]


def test_an_archive_link_opens_what_its_owner_asked_for(
    keyed: KeyedServer, ann: httpx.Client, hers: Belongings
) -> None:
    place = f"/training_runs/{hers.run_id}/checkpoints/sampler_weights/mine/archive"
    link = ann.get(place).json()["url"]
    assert httpx.get(link, trust_env=False).status_code == 200
    assert httpx.get(link.replace("/mine", "/other"), trust_env=False).status_code == 401
    assert keyed.client("tml-wrong").get(place).status_code == 401


def test_the_servers_own_key_is_an_owner_like_the_others(
    keyed: KeyedServer, hers: Belongings
) -> None:
    own = keyed.client(keyed.own_key)
    assert own.get(f"/training_runs/{hers.run_id}").status_code == 404
    assert "home" in own.get("/engine/status").json()
    mine = belongings(own)
    assert own.get(f"/training_runs/{mine.run_id}").json()["model_owner"] == "local"


def test_keys_come_and_go_while_the_server_runs(keyed: KeyedServer) -> None:
    stored = keyed.engine.api_keys
    key, secret = stored.create("passing", expires_at=None, limits=Limits())
    assert secret not in json.dumps([k.digest for k in stored.all()])
    client = keyed.client(secret)
    assert client.get("/training_runs").status_code == 200
    run = belongings(client).run_id
    rotated = stored.replace_secret(key.id, expires_at=None)
    renewed = keyed.client(rotated)
    assert _eventually(lambda: renewed.get(f"/training_runs/{run}").status_code == 200)
    assert _eventually(lambda: client.get("/training_runs").status_code == 401)
    stored.revoke(key.id)
    assert _eventually(lambda: renewed.get("/training_runs").status_code == 401)
    _, late = stored.create("late", expires_at=time.time() - 1, limits=Limits())
    assert keyed.client(late).get("/training_runs").status_code == 401
    with pytest.raises(RequestError, match="ann"):
        stored.create("ann", expires_at=None, limits=Limits())


def test_a_key_without_a_session_of_its_own_is_told_401_everywhere(keyed: KeyedServer) -> None:
    wrong = keyed.client("tml-not-a-key-of-this-server")
    for path in ("/sessions", "/checkpoints", "/engine/status", "/engine/base"):
        assert wrong.get(path).status_code == 401
    for path in ("/metrics", "/openapi.json"):
        url = keyed.host.base_url + path
        assert httpx.get(url, trust_env=False).status_code == 401
    assert wrong.get("/healthz").status_code == 200


def test_keys_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> str:
        command = ["tinker-engine", "keys", *words, "--home", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    made = json.loads(run("create", "ops", "--max-runs", "3", "--expires-days", "2", "--json"))
    assert made["api_key"].startswith("tml-")
    assert made["api_key"].encode() not in (tmp_path / "engine.sqlite3").read_bytes()
    listed = json.loads(run("list", "--json"))[0]
    assert (listed["name"], listed["state"], listed["max_runs"]) == ("ops", "active", 3)
    assert "digest" not in listed
    assert json.loads(run("rotate", "ops", "--json"))["api_key"] != made["api_key"]
    run("revoke", "ops")
    assert json.loads(run("list", "--json"))[0]["state"] == "revoked"
    assert "revoked" in run("list")


def _eventually(is_so: Callable[[], bool]) -> bool:
    """Whether it becomes so within the time that a server may take to notice."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.1)
    return False
