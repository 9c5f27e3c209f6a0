"""Checkpoints as clients manage them: pages, publishing, expiry, copies and downloads."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyrage
import pytest
import tinker
from safetensors import safe_open
from wire_bodies import fetch, forward_backward, json_datum

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection
from tinker_engine.protocol.paths import parse_path
from tinker_engine.server import links
from tinker_engine.storage.checkpoints import CheckpointFolders, file_digest

DATUM = tinker.Datum(
    model_input=tinker.ModelInput.from_ints([5, 6, 7, 8]),
    loss_fn_inputs={"target_tokens": [6, 7, 8, 9], "weights": [1.0] * 4},
)
ADAPTER_FILES = {"adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture(scope="module")
def client(connection: Connection) -> tinker.TrainingClient:
    made = connection.service_client.create_lora_training_client(
        "nano", rank=4, seed=1, train_unembed=False
    ).result()
    made.forward_backward([DATUM], "cross_entropy").result()
    made.optim_step(tinker.AdamParams(learning_rate=1e-2)).result()
    return made


@pytest.fixture(scope="module")
def rest(connection: Connection) -> tinker.RestClient:
    return tinker.RestClient(base_url=connection.base_url, api_key=connection.api_key)


@pytest.fixture
def anonymous(connection: Connection) -> Iterator[httpx.Client]:
    """A client without a key, as download tools are."""
    with httpx.Client(timeout=60, trust_env=False) as opened:
        yield opened


def listed(rest: tinker.RestClient, path: str) -> tinker.types.Checkpoint:
    run_id = parse_path(path).run_id
    found = {c.tinker_path: c for c in rest.list_checkpoints(run_id).result().checkpoints}
    return found[path]


def test_pages_cover_everything_once(
    client: tinker.TrainingClient, rest: tinker.RestClient
) -> None:
    saved = {client.save_state(f"page-{i}").result().path for i in range(5)}
    seen: list[str] = []
    total = 1
    while len(seen) < total:
        page = rest.list_user_checkpoints(limit=2, offset=len(seen)).result()
        assert 1 <= len(page.checkpoints) <= 2
        assert page.cursor is not None
        total = page.cursor.total_count
        seen += [c.tinker_path for c in page.checkpoints]
    assert len(seen) == len(set(seen)) == total
    assert saved <= set(seen)
    assert rest.list_user_checkpoints(limit=2, offset=total).result().checkpoints == []
    runs = rest.list_training_runs(limit=1).result()
    assert len(runs.training_runs) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "offset=-1", f"offset={2**70}"])
@pytest.mark.parametrize("route", ["/checkpoints", "/training_runs", "/sessions"])
def test_pages_out_of_range_are_refused(raw: httpx.Client, route: str, query: str) -> None:
    answer = raw.get(f"{route}?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


def test_publish_and_take_back(client: tinker.TrainingClient, rest: tinker.RestClient) -> None:
    path = client.save_weights_for_sampler("shown").result().path
    assert not listed(rest, path).public
    for _ in range(2):
        rest.publish_checkpoint_from_tinker_path(path).result()
        assert listed(rest, path).public
    for _ in range(2):
        rest.unpublish_checkpoint_from_tinker_path(path).result()
        assert not listed(rest, path).public
    with pytest.raises(tinker.NotFoundError):
        rest.publish_checkpoint_from_tinker_path(path.replace("shown", "other")).result()


def test_expiry_is_set_moved_and_kept(
    client: tinker.TrainingClient,
    rest: tinker.RestClient,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = client.save_state("brief", ttl_seconds=3600).result().path
    first = listed(rest, path).expires_at
    rest.set_checkpoint_ttl_from_tinker_path(path, 7200).result()
    second = listed(rest, path).expires_at
    assert first is not None
    assert second is not None
    assert 3500 < (second - first).total_seconds() < 3700
    with pytest.raises(tinker.BadRequestError, match="expected 3600"):
        rest.set_checkpoint_ttl_from_tinker_path(path, 5).result()
    later = time.time() + 7300
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(tinker.NotFoundError, match="has expired"):
        rest.get_weights_info_by_tinker_path(path).result()
    with pytest.raises(tinker.NotFoundError, match="has expired"):
        connection.service_client.create_training_client_from_state(path).result()
    assert path not in [c.tinker_path for c in rest.list_user_checkpoints().result().checkpoints]


def test_copy_is_a_checkpoint_of_its_own(
    client: tinker.TrainingClient,
    rest: tinker.RestClient,
    connection: Connection,
    config: EngineConfig,
) -> None:
    path = client.save_state("origin", user_metadata={"step": "1"}).result().path
    copy = rest.copy_weights(path, "archive", ttl_seconds=3600).result()
    assert copy != path
    assert copy.endswith("/weights/origin")
    entry = listed(rest, copy)
    assert entry.user_metadata == {"step": "1"}
    assert entry.expires_at is not None
    rest.delete_checkpoint_from_tinker_path(path).result()
    folders = CheckpointFolders(config.runs_dir)
    assert not folders.exists(parse_path(path))
    assert folders.exists(parse_path(copy))
    assert rest.get_weights_info_by_tinker_path(copy).result().lora_rank == 4
    expected = client.forward([DATUM], "cross_entropy").result().metrics["loss:sum"]
    again = connection.service_client.create_training_client_from_state_with_optimizer(
        copy
    ).result()
    assert again.forward([DATUM], "cross_entropy").result().metrics["loss:sum"] == expected
    assert rest.get_training_run(parse_path(copy).run_id).result().lora_rank == 4


def test_copy_is_made_once(
    client: tinker.TrainingClient, raw: httpx.Client, session_id: str
) -> None:
    path = client.save_weights_for_sampler("once").result().path
    other = client.save_weights_for_sampler("twice").result().path
    body: dict[str, Any] = {"source_path": path, "destination_project_id": "p"}
    headers = {"X-Idempotency-Key": "copy-key"}
    answers = [raw.post("/copy_weights", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[0].status_code == 200
    changed = raw.post("/copy_weights", json={**body, "source_path": other}, headers=headers)
    assert changed.status_code == 422
    placed = {"source_path": path, "session_id": session_id, "model_seq_id": 777}
    answer = raw.post("/copy_weights", json=placed).json()
    assert answer["tinker_path"] == f"tinker://{session_id}:train:777/sampler_weights/once"
    refused = raw.post("/forward_backward", json=forward_backward(f"{session_id}:train:777", 1))
    assert refused.status_code in (400, 404)


def test_archive_is_a_tar_of_the_adapter(
    client: tinker.TrainingClient,
    raw: httpx.Client,
    anonymous: httpx.Client,
    config: EngineConfig,
    connection: Connection,
) -> None:
    path = parse_path(client.save_state("packed").result().path)
    answer = raw.get(
        f"/training_runs/{path.run_id}/checkpoints/{path.checkpoint_id}/archive",
        headers={"Accept": "application/gzip"},
    )
    assert answer.status_code == 302
    assert "GMT" in answer.headers["Expires"]
    url = answer.headers["Location"]
    content = anonymous.get(url)
    assert content.status_code == 200
    with tarfile.open(fileobj=io.BytesIO(content.content), mode="r") as archive:
        assert set(archive.getnames()) == ADAPTER_FILES
        member = archive.extractfile("adapter_config.json")
        assert member is not None
        assert json.load(member)["r"] == 4
    assert connection.api_key not in url


def test_links_open_one_place_for_a_while(
    client: tinker.TrainingClient,
    raw: httpx.Client,
    anonymous: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = (parse_path(client.save_state(name).result().path) for name in ("l1", "l2"))
    route = f"/training_runs/{one.run_id}/checkpoints/{one.checkpoint_id}/archive"
    url = raw.get(route).headers["Location"]
    assert anonymous.get(url.replace("/l1?", "/l2?")).status_code == 401
    assert anonymous.get(url.partition("?")[0]).status_code == 401
    assert anonymous.get(url.replace("expires=", "expires=9")).status_code == 401
    assert anonymous.get(url.replace("/links/archives/", "/training_runs/")).status_code == 401
    assert two.name == "l2"
    now = time.time()
    monkeypatch.setattr(links.time, "time", lambda: now + links.LIFETIME_S + 1)
    late = anonymous.get(url)
    assert late.status_code == 401
    assert "expired" in late.json()["error"]


def test_external_weights_are_downloaded_by_link(
    client: tinker.TrainingClient,
    rest: tinker.RestClient,
    anonymous: httpx.Client,
    config: EngineConfig,
    tmp_path: Path,
) -> None:
    saved = client.save_weights_external("outside").result()
    assert parse_path(saved.path).kind == "external_weights"
    assert listed(rest, saved.path).checkpoint_type == "external"
    found = rest.get_external_weights_urls(saved.path).result()
    assert set(found.urls) == ADAPTER_FILES
    folder = CheckpointFolders(config.runs_dir).folder(parse_path(saved.path))
    for name, url in found.urls.items():
        target = tmp_path / name
        target.write_bytes(anonymous.get(url).content)
        assert file_digest(target) == file_digest(folder / name)
    with safe_open(tmp_path / "adapter_model.safetensors", "np") as weights:
        assert any(name.endswith("lora_A.weight") for name in weights.keys())  # noqa: SIM118
    with pytest.raises(tinker.BadRequestError, match="age_encryption_recipients"):
        client.save_weights_external("sealed", age_encryption_recipients=["age1x"]).result()


def test_sealed_weights_open_with_the_key_alone(
    client: tinker.TrainingClient,
    rest: tinker.RestClient,
    anonymous: httpx.Client,
    connection: Connection,
    config: EngineConfig,
) -> None:
    key = pyrage.x25519.Identity.generate()
    path = client.save_weights_external(
        "sealed", age_encryption_recipients=[str(key.to_public())]
    ).result()
    plain = client.save_weights_external("plain").result()
    folders = CheckpointFolders(config.runs_dir)
    found = rest.get_external_weights_urls(path.path).result()
    assert set(found.urls) == {name + ".age" for name in ADAPTER_FILES}
    for name in ADAPTER_FILES:
        sealed = anonymous.get(found.urls[name + ".age"]).content
        readable = (folders.folder(parse_path(plain.path)) / name).read_bytes()
        assert readable not in sealed
        assert pyrage.decrypt(sealed, [key]) == readable
        assert not (folders.folder(parse_path(path.path)) / name).exists()
    sampler = connection.service_client.create_sampling_client(model_path=path.path).result()
    with pytest.raises(tinker.RequestFailedError, match="no adapter files"):
        sampler.compute_logprobs(tinker.ModelInput.from_ints([5, 6])).result()


def test_overwriting_needs_to_be_asked_for(client: tinker.TrainingClient) -> None:
    client.save_state("same").result()
    with pytest.raises(tinker.RequestFailedError, match="overwrite=True"):
        client.save_state("same").result()
    assert client.save_state("same", overwrite=True).result().path.endswith("/same")


@pytest.mark.parametrize("with_optimizer", [True, False])
def test_run_from_a_checkpoint(
    raw: httpx.Client, session_id: str, new_run: Callable[..., str], with_optimizer: bool
) -> None:
    """Resumed with its optimizer a run goes on bit for bit; without, its next step differs."""
    run = new_run()
    adam = {"learning_rate": 1e-2}
    datum = json_datum([5, 6, 7, 8, 9, 10])
    steps = [
        ("/forward_backward", forward_backward(run, 1, datum)),
        ("/optim_step", {"model_id": run, "seq_id": 2, "adam_params": adam}),
        ("/save_weights", {"model_id": run, "seq_id": 3, "path": "half"}),
        ("/forward_backward", forward_backward(run, 4, datum)),
        ("/optim_step", {"model_id": run, "seq_id": 5, "adam_params": adam}),
    ]
    results = [fetch(raw, raw.post(path, json=body)) for path, body in steps]
    number = 9000 + with_optimizer
    body = {
        "session_id": session_id,
        "model_seq_id": number,
        "path": results[2]["path"],
        "optimizer": with_optimizer,
    }
    twin = fetch(raw, raw.post("/load_weights", json=body))["model_id"]
    assert twin == f"{session_id}:train:{number}"
    fetch(raw, raw.post("/forward_backward", json=forward_backward(twin, 1, datum)))
    step = {"model_id": twin, "seq_id": 2, "adam_params": adam}
    result = fetch(raw, raw.post("/optim_step", json=step))
    assert result["metrics"]["optimizer_step"] == (2.0 if with_optimizer else 1.0)
    losses = [
        fetch(
            raw,
            raw.post(
                "/forward",
                json={
                    "model_id": model,
                    "seq_id": place,
                    "forward_input": {"data": [datum], "loss_fn": "cross_entropy"},
                },
            ),
        )["metrics"]["loss:sum"]
        for model, place in ((run, 6), (twin, 3))
    ]
    assert (losses[0] == losses[1]) == with_optimizer


def test_training_goes_on_from_training_state_only(
    client: tinker.TrainingClient, connection: Connection
) -> None:
    path = client.save_weights_for_sampler("thin").result().path
    with pytest.raises(tinker.BadRequestError, match="save_state"):
        connection.service_client.create_training_client_from_state(path).result()
