"""An adapter's own files, given back to an engine, answer as the run they came from."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tinker import types

from tinker_engine.connect import Connection, base_info, download_adapter, upload_adapter
from tinker_engine.errors import CheckpointError, RequestError

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
    connection: Connection, trained: tuple[str, Path]
) -> None:
    path, folder = trained
    uploaded = upload_adapter(connection, folder)
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
