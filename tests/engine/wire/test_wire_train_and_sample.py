"""The official SDK against the embedded engine, from creating a run to listing its checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tinker

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, base_info, download_adapter, load_tokenizer
from tinker_engine.protocol.paths import parse_path
from tinker_engine.storage.checkpoints import CheckpointFolders, file_digest

TEXT = "Dear customer, the repair of your bicycle is done and it waits for you in the workshop."


@pytest.fixture(scope="module")
def tokens(connection: Connection) -> list[int]:
    return load_tokenizer(connection).encode(TEXT)


@pytest.fixture(scope="module")
def datum(tokens: list[int]) -> tinker.Datum:
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": [1.0] * (len(tokens) - 1)},
    )


@pytest.fixture(scope="module")
def trained(connection: Connection, datum: tinker.Datum) -> tinker.TrainingClient:
    client = connection.service_client.create_lora_training_client(
        "nano", rank=8, seed=7, user_metadata={"purpose": "test"}
    ).result()
    losses: list[float] = []
    steps: list[float] = []
    for _ in range(24):
        # Submitted together, as pipelining clients do.
        loss = client.forward_backward([datum] * 2, "cross_entropy")
        step = client.optim_step(tinker.AdamParams(learning_rate=4e-3))
        losses.append(loss.result().metrics["loss:sum"])
        steps.append((step.result().metrics or {})["optimizer_step"])
    assert losses[-1] < 0.7 * losses[0]
    assert steps == [float(i) for i in range(1, 25)]
    return client


def test_client_knows_its_run(trained: tinker.TrainingClient, connection: Connection) -> None:
    info = trained.get_info()
    assert info.lora_rank == 8
    assert info.is_lora
    # The folder, because sampling clients look their tokenizer up under this name.
    assert info.model_data.model_name == base_info(connection).path
    sampler = trained.save_weights_and_get_sampling_client().result()
    for client in (trained, sampler):
        assert client.get_tokenizer().encode("a b") == load_tokenizer("nano").encode("a b")


def test_outputs_add_up_to_the_loss(trained: tinker.TrainingClient, datum: tinker.Datum) -> None:
    result = trained.forward([datum, datum], "cross_entropy").result()
    assert len(result.loss_fn_outputs) == 2
    logprobs = result.loss_fn_outputs[0]["logprobs"].to_numpy()
    losses = result.loss_fn_outputs[0]["elementwise_loss"].to_numpy()
    np.testing.assert_allclose(losses, -logprobs, rtol=1e-6)
    assert 2 * losses.sum() == pytest.approx(result.metrics["loss:sum"], rel=1e-5)


def test_sampler_and_trainer_agree(
    trained: tinker.TrainingClient, datum: tinker.Datum, tokens: list[int]
) -> None:
    sampler = trained.save_weights_and_get_sampling_client().result()
    prompt = tinker.ModelInput.from_ints(tokens)
    sampled = sampler.compute_logprobs(prompt).result()
    forward = trained.forward([datum], "cross_entropy").result().loss_fn_outputs[0]["logprobs"]
    assert sampled[0] is None
    np.testing.assert_allclose(sampled[1:], forward.to_numpy(), atol=1e-4)
    last = sampler.compute_logprobs(prompt, prompt_logprobs_last_n=3).result()
    assert last[:-3] == [None] * (len(tokens) - 3)
    np.testing.assert_allclose(last[-3:], sampled[-3:], atol=1e-5)


def test_trained_text_comes_back(
    trained: tinker.TrainingClient, connection: Connection, tokens: list[int]
) -> None:
    path = trained.save_weights_for_sampler("text").result().path
    sampler = connection.service_client.create_sampling_client(model_path=path).result()
    base = connection.service_client.create_sampling_client(base_model="nano").result()
    params = tinker.SamplingParams(max_tokens=8, temperature=0.0)
    prompt = tinker.ModelInput.from_ints(tokens[:4])
    answer = sampler.sample(prompt, 2, params).result()
    assert len(answer.sequences) == 2
    assert answer.sequences[0].tokens == answer.sequences[1].tokens
    sequence = answer.sequences[0]
    assert len(sequence.tokens) == len(sequence.logprobs or []) == 8
    assert sequence.stop_reason == "length"
    assert sum(compare(sampler, tokens)) > sum(compare(base, tokens))


def compare(sampler: tinker.SamplingClient, tokens: list[int]) -> list[float]:
    logprobs = sampler.compute_logprobs(tinker.ModelInput.from_ints(tokens)).result()
    return [value for value in logprobs if value is not None]


def test_top_prompt_logprobs(connection: Connection, tokens: list[int]) -> None:
    base = connection.service_client.create_sampling_client(base_model="nano").result()
    answer = base.sample(
        tinker.ModelInput.from_ints(tokens),
        1,
        tinker.SamplingParams(max_tokens=1),
        include_prompt_logprobs=True,
        topk_prompt_logprobs=3,
    ).result()
    top = answer.topk_prompt_logprobs
    assert top is not None
    assert len(top) == len(tokens)
    row = top[1]
    assert row is not None
    assert [logprob for _, logprob in row] == sorted((lp for _, lp in row), reverse=True)
    assert answer.prompt_logprobs is not None


def test_stop_string_and_seed(connection: Connection, tokens: list[int]) -> None:
    base = connection.service_client.create_sampling_client(base_model="nano").result()
    prompt = tinker.ModelInput.from_ints(tokens[:4])
    params = tinker.SamplingParams(max_tokens=12, temperature=1.0, seed=11)
    first = base.sample(prompt, 1, params).result().sequences[0].tokens
    again = base.sample(prompt, 1, params).result().sequences[0].tokens
    assert first == again
    stopped = base.sample(
        prompt, 1, tinker.SamplingParams(max_tokens=12, temperature=1.0, seed=11, stop=[first[2]])
    ).result()
    assert stopped.sequences[0].stop_reason == "stop"
    assert stopped.sequences[0].tokens == first[: first.index(first[2]) + 1]


def test_state_restores_weights_and_optimizer(
    connection: Connection, trained: tinker.TrainingClient, datum: tinker.Datum
) -> None:
    path = trained.save_state("twin").result().path
    twin = connection.service_client.create_training_client_from_state_with_optimizer(path).result()
    fresh = connection.service_client.create_training_client_from_state(path).result()
    after: list[float] = []
    for client in (trained, twin, fresh):
        client.forward_backward([datum], "cross_entropy").result()
        client.optim_step(tinker.AdamParams(learning_rate=1e-3)).result()
        after.append(client.forward([datum], "cross_entropy").result().metrics["loss:sum"])
    assert after[0] == after[1]
    assert after[2] != after[0]


def test_load_into_an_existing_run(
    connection: Connection, trained: tinker.TrainingClient, datum: tinker.Datum
) -> None:
    path = trained.save_state("into").result().path
    expected = trained.forward([datum], "cross_entropy").result().metrics["loss:sum"]
    other = connection.service_client.create_lora_training_client("nano", rank=8, seed=1).result()
    with pytest.warns(FutureWarning, match="load_state"):
        other.load_state_with_optimizer(path).result()
    assert other.forward([datum], "cross_entropy").result().metrics["loss:sum"] == expected


def test_catalog(connection: Connection, trained: tinker.TrainingClient) -> None:
    path = trained.save_state("listed", user_metadata={"step": "8"}, ttl_seconds=7200).result().path
    rest = tinker.RestClient(base_url=connection.base_url, api_key=connection.api_key)
    listed = {
        c.tinker_path: c for c in rest.list_checkpoints(trained.model_id).result().checkpoints
    }
    assert listed[path].checkpoint_type == "training"
    assert listed[path].user_metadata == {"step": "8"}
    assert listed[path].expires_at is not None
    assert (listed[path].size_bytes or 0) > 1000
    everything = rest.list_user_checkpoints(limit=1).result()
    assert len(everything.checkpoints) == 1
    assert everything.cursor is not None
    assert everything.cursor.total_count >= 2
    run = rest.get_training_run(trained.model_id).result()
    assert run.user_metadata == {"purpose": "test"}
    assert run.last_checkpoint is not None
    runs = rest.list_training_runs().result().training_runs
    assert trained.model_id in [r.training_run_id for r in runs]
    offered = rest.get_server_capabilities().result().supported_models
    assert [model.model_name for model in offered] == ["nano"]
    info = rest.get_weights_info_by_tinker_path(path).result()
    assert (info.base_model, info.lora_rank, info.train_attn) == ("nano", 8, True)
    rest.set_checkpoint_ttl_from_tinker_path(path, None).result()
    rest.delete_checkpoint_from_tinker_path(path).result()
    with pytest.raises(tinker.NotFoundError, match="does not exist"):
        rest.get_weights_info_by_tinker_path(path).result()


def test_download_gives_the_saved_files(
    connection: Connection,
    config: EngineConfig,
    trained: tinker.TrainingClient,
    tmp_path: Path,
) -> None:
    path = trained.save_weights_for_sampler("fetched").result().path
    folder = download_adapter(connection, path, tmp_path / "adapter")
    saved = CheckpointFolders(config.runs_dir).folder(parse_path(path))
    names = {"adapter_config.json", "adapter_model.safetensors"}
    assert {file.name for file in folder.iterdir()} == names
    for name in names:
        assert file_digest(folder / name) == file_digest(saved / name)


def test_base_identity(connection: Connection) -> None:
    info = base_info(connection)
    assert info.name == "nano"
    assert len(info.digest) == len(info.tokenizer_digest) == 64
    assert info.max_context > 0


def test_sampling_client_survives_pickling(connection: Connection, tokens: list[int]) -> None:
    import pickle

    base = connection.service_client.create_sampling_client(base_model="nano").result()
    copy = pickle.loads(pickle.dumps(base))
    params = tinker.SamplingParams(max_tokens=3, temperature=0.0)
    prompt = tinker.ModelInput.from_ints(tokens[:5])
    assert (
        copy.sample(prompt, 1, params).result().sequences[0].tokens
        == base.sample(prompt, 1, params).result().sequences[0].tokens
    )


def test_many_samples_at_once(connection: Connection, tokens: list[int]) -> None:
    base = connection.service_client.create_sampling_client(base_model="nano").result()
    params = tinker.SamplingParams(max_tokens=2, temperature=0.0)
    prompts = [tokens[: 2 + i % 7] for i in range(120)]
    futures = [base.sample(tinker.ModelInput.from_ints(p), 1, params) for p in prompts]
    answers = [future.result().sequences[0].tokens for future in futures]
    alone = [
        base.sample(tinker.ModelInput.from_ints(p), 1, params).result().sequences[0].tokens
        for p in prompts[:7]
    ]
    assert [answers[i] for i in range(7)] == alone
    assert all(answers[i] == answers[i % 7] for i in range(120))
