"""An adapter's own files, given back to an engine, answer as the run they came from.

They can be trained on from, too: with a privacy policy or without.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest
import tinker
from tinker import types

from tinker_engine.connect import (
    Connection,
    base_info,
    download_adapter,
    run_privacy,
    upload_adapter,
)
from tinker_engine.errors import CheckpointError, RequestError
from tinker_engine.runtime.engine import Engine

PROMPT = types.ModelInput.from_ints([5, 6, 7, 8])
DATUM = types.Datum(
    model_input=types.ModelInput.from_ints([5, 6, 7, 8, 9]),
    loss_fn_inputs={"target_tokens": [6, 7, 8, 9, 10], "weights": [1.0] * 5},
)


@pytest.fixture(scope="module")
def trained(connection: Connection, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    service = connection.service_client
    training = service.create_lora_training_client(base_info(connection).name, rank=4).result()
    for _ in range(3):
        training.forward_backward([DATUM], "cross_entropy").result()
        training.optim_step(types.AdamParams(learning_rate=1e-2)).result()
    path = training.save_weights_for_sampler("upload-test").result().path
    folder = tmp_path_factory.mktemp("upload") / "adapter"
    return path, download_adapter(connection, path, folder)


def logprobs(connection: Connection, path: str) -> list[float | None]:
    client = connection.service_client.create_sampling_client(model_path=path).result()
    return list(client.compute_logprobs(PROMPT).result())


def test_an_uploaded_adapter_gives_the_same_likelihoods(
    connection: Connection, running: Engine, trained: tuple[str, Path]
) -> None:
    path, folder = trained
    uploaded = upload_adapter(connection, folder)
    assert uploaded == upload_adapter(connection, folder)
    # The session of uploads is released for being idle like any other.
    for session in list(running._seen):
        if running.store.session(session).display_name == "uploaded adapters":
            running._release(session)
    assert uploaded == upload_adapter(connection, folder)
    assert uploaded != path
    assert logprobs(connection, uploaded) == logprobs(connection, path)


def test_an_adapter_for_another_base_is_refused(connection: Connection, shared_data: Path) -> None:
    with pytest.raises((CheckpointError, RequestError), match=r"base|module|fit"):
        upload_adapter(connection, shared_data / "adapters" / "distilgpt2-r8")


def test_bytes_that_are_no_adapter_are_refused(
    connection: Connection, trained: tuple[str, Path], tmp_path: Path
) -> None:
    _, folder = trained
    (tmp_path / "adapter_config.json").write_bytes((folder / "adapter_config.json").read_bytes())
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises((CheckpointError, RequestError), match="adapter"):
        upload_adapter(connection, tmp_path)
    with pytest.raises(CheckpointError, match="PEFT"):
        upload_adapter(connection, tmp_path / "nowhere")


def test_an_upload_without_its_configuration_is_refused(raw: httpx.Client) -> None:
    answer = raw.post("/engine/adapters", content=b"x")
    assert answer.status_code == 400
    assert "X-Adapter-Config" in answer.json()["error"]


PRIVATE = {
    "dp_clip_norm": "0.5",
    "dp_sampling_rate": "0.25",
    "dp_expected_batch_size": "2",
    "dp_delta": "1e-5",
    "dp_target_epsilon": "3",
    "dp_steps": "4",
    "lora_train": "B",
}


def test_training_goes_on_from_an_upload(connection: Connection, trained: tuple[str, Path]) -> None:
    path, folder = trained
    service = connection.service_client
    run = service.create_training_client_from_state(upload_adapter(connection, folder)).result()
    saved = run.save_weights_for_sampler("as-it-came").result().path
    assert logprobs(connection, saved) == logprobs(connection, path)
    run.forward_backward([DATUM], "cross_entropy").result()
    run.optim_step(types.AdamParams(learning_rate=1e-2)).result()
    moved = run.save_weights_for_sampler("one-step-on").result().path
    assert logprobs(connection, moved) != logprobs(connection, path)


def test_a_private_run_from_an_upload_counts_its_own_spending_and_says_what_it_does_not(
    connection: Connection, trained: tuple[str, Path]
) -> None:
    path, folder = trained
    run = connection.service_client.create_training_client_from_state(
        upload_adapter(connection, folder), user_metadata=PRIVATE
    ).result()
    saved = run.save_weights_for_sampler("private-start").result().path
    assert logprobs(connection, saved) == logprobs(connection, path)
    run.forward_backward([DATUM, DATUM], "cross_entropy").result()
    run.optim_step(types.AdamParams(learning_rate=1e-3)).result()
    record = run_privacy(connection, run.model_id)
    digest = hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert record.steps == 1
    assert 0 < record.epsilon <= 3
    assert f"started from adapter {digest}" in record.declared
    # The checkpoint of such a run carries its ledger, as that of any private run does.
    state = run.save_state("private-start").result().path
    again = connection.service_client.create_training_client_from_state(state).result()
    inherited = run_privacy(connection, again.model_id)
    assert (inherited.steps, inherited.declared) == (1, record.declared)


@pytest.mark.parametrize(
    "metadata", [{"lora_alpha": "1"}, {"target_modules": '["q_proj"]'}], ids=["alpha", "targets"]
)
def test_another_shape_than_the_uploads_is_refused(
    connection: Connection, trained: tuple[str, Path], metadata: dict[str, str]
) -> None:
    uploaded = upload_adapter(connection, trained[1])
    with pytest.raises((tinker.TinkerError, RequestError), match="rank, alpha and targets"):
        connection.service_client.create_training_client_from_state(
            uploaded, user_metadata=metadata
        ).result()


def test_an_upload_has_no_optimizer_to_restore(
    connection: Connection, trained: tuple[str, Path]
) -> None:
    uploaded = upload_adapter(connection, trained[1])
    with pytest.raises(tinker.BadRequestError, match="no optimizer"):
        connection.service_client.create_training_client_from_state_with_optimizer(
            uploaded
        ).result()
