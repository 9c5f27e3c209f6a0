"""Preference runs against the embedded engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tinker
from safetensors.numpy import load_file

from tinker_engine.connect import Connection, download_adapter, load_tokenizer
from tinker_engine.errors import CheckpointError, RequestError
from tinker_engine.recipes import (
    ChatFormat,
    DpoConfig,
    InterruptedRunError,
    PreferencePair,
    Progress,
    SftResult,
    preference_margins,
    run_dpo,
)
from tinker_engine.recipes import dpo as dpo_recipe

TOPICS = ("bikes", "trains", "rivers", "bread", "music", "chess", "gardens", "clocks")
CONFIG = DpoConfig(
    rank=8,
    learning_rate=5e-3,
    batch_size=4,
    epochs=4,
    validation_fraction=0.25,
    evaluations=2,
    checkpoint_steps=2,
    beta=0.2,
)


def pairs(count: int = 16) -> list[PreferencePair]:
    """Polite answers are preferred to rude ones of another length."""
    rows: list[PreferencePair] = []
    for i in range(count):
        topic = TOPICS[i % len(TOPICS)]
        rows.append(
            PreferencePair(
                [{"role": "user", "content": f"Question {i}: tell me about {topic}."}],
                [{"role": "assistant", "content": f"Thank you for asking about {topic}."}],
                [{"role": "assistant", "content": f"No. I will not talk of {topic} to you today."}],
            )
        )
    return rows


@pytest.fixture(scope="module")
def chat_format(connection: Connection) -> ChatFormat:
    return ChatFormat(load_tokenizer(connection))


def train(
    connection: Connection,
    chat_format: ChatFormat,
    folder: Path,
    *,
    has_dpo_loss: bool = True,
    rows: list[PreferencePair] | None = None,
    stop_at: int = 0,
) -> SftResult:
    def progressed(progress: Progress) -> None:
        if progress.step == stop_at:
            raise KeyboardInterrupt

    return run_dpo(
        connection.service_client,
        chat_format,
        rows or pairs(),
        CONFIG,
        folder,
        base_model="nano",
        hidden_size=256,
        has_dpo_loss=has_dpo_loss,
        on_progress=progressed if stop_at else None,
    )


def weights(connection: Connection, result: SftResult, folder: Path) -> dict[str, np.ndarray]:
    download_adapter(connection, result.checkpoint, folder)
    return load_file(folder / "adapter_model.safetensors")


def test_server_says_that_it_has_the_loss(connection: Connection) -> None:
    assert "dpo" in connection.capabilities()["losses"]


def test_chosen_answers_win_and_both_ways_agree(
    connection: Connection, chat_format: ChatFormat, tmp_path: Path
) -> None:
    fused = train(connection, chat_format, tmp_path / "fused")
    assert fused.history[0].loss == pytest.approx(np.log(2), abs=1e-3)
    assert fused.history[-1].accuracy == 1.0
    assert fused.history[-1].validation_loss is not None
    assert fused.history[-1].validation_loss < 0.5
    unseen = pairs(24)[16:]
    before, after = (
        preference_margins(client, chat_format, unseen)
        for client in (
            connection.service_client.create_sampling_client(base_model="nano"),
            connection.service_client.create_sampling_client(model_path=fused.checkpoint),
        )
    )
    assert min(a - b for a, b in zip(after, before, strict=True)) > 0
    custom = train(connection, chat_format, tmp_path / "custom", has_dpo_loss=False)
    for ours, theirs in zip(fused.history, custom.history, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=2e-2, abs=1e-3)
    a, b = (
        weights(connection, run, tmp_path / name) for run, name in ((fused, "a"), (custom, "b"))
    )
    for name, values in a.items():
        norm = np.linalg.norm(values)
        assert np.linalg.norm(values - b[name]) <= 0.05 * norm + 1e-6


def test_interrupted_run_goes_on_with_its_first_reference(
    connection: Connection, chat_format: ChatFormat, tmp_path: Path
) -> None:
    whole = train(connection, chat_format, tmp_path / "whole")
    with pytest.raises(InterruptedRunError):
        train(connection, chat_format, tmp_path / "cut", stop_at=4)
    rest = train(connection, chat_format, tmp_path / "cut")
    assert rest.steps == whole.steps
    assert rest.history[-1].loss == pytest.approx(whole.history[-1].loss, rel=0.05, abs=1e-3)


def test_lost_reference_is_refused(
    connection: Connection, chat_format: ChatFormat, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        train(connection, chat_format, tmp_path, stop_at=2)
    with pytest.raises(CheckpointError, match="other settings or other data"):
        train(connection, chat_format, tmp_path, rows=pairs(12))
    whole = (tmp_path / "reference.npz").read_bytes()
    for broken in (b"not a reference", whole[: len(whole) // 2], b""):
        (tmp_path / "reference.npz").write_bytes(broken)
        with pytest.raises(CheckpointError, match="not the reference"):
            train(connection, chat_format, tmp_path)
    (tmp_path / "reference.npz").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        train(connection, chat_format, tmp_path)


def test_a_new_run_takes_no_reference_of_another(
    connection: Connection, chat_format: ChatFormat, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        train(connection, chat_format, tmp_path, stop_at=2)
    path = tmp_path / "reference.npz"
    with np.load(path) as stored:
        lengths, logprobs = stored["lengths"], stored["logprobs"]
    np.savez(path, lengths=lengths, logprobs=logprobs - 1.0)
    (tmp_path / "sft_state.json").unlink()
    with pytest.raises(InterruptedRunError):
        train(connection, chat_format, tmp_path, stop_at=2)
    with np.load(path) as stored:
        np.testing.assert_allclose(stored["logprobs"], logprobs, atol=1e-3)


def test_a_pair_is_never_cut_between_two_requests(
    connection: Connection,
    chat_format: ChatFormat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tinker.lib.public_interfaces.training_client import (
        _estimate_datum_bytes_count_proto,  # pyright: ignore[reportPrivateUsage]
    )
    from tinker.types.client_config_response import ClientConfigResponse

    length = 1000
    datum = tinker.Datum(
        model_input=tinker.ModelInput.from_ints([1] * length),
        loss_fn_inputs={
            "target_tokens": tinker.TensorData.from_numpy(np.ones(length, np.int64)),
            "logprobs": tinker.TensorData.from_numpy(np.ones(length, np.float32)),
            "advantages": tinker.TensorData.from_numpy(np.ones(length, np.float32)),
        },
    )
    largest = dpo_recipe.ONE_REQUEST_TOKENS / length * _estimate_datum_bytes_count_proto(datum)
    limits = ClientConfigResponse()
    assert largest <= limits.fwdbwd_max_chunk_bytes_count
    assert limits.fwdbwd_max_chunk_len % 2 == 0
    monkeypatch.setattr(dpo_recipe, "ONE_REQUEST_TOKENS", 1)
    custom: list[int] = []
    own = tinker.TrainingClient.forward_backward_custom

    def counted(client: Any, data: Any, loss: Any) -> Any:
        custom.append(len(data))
        return own(client, data, loss)

    monkeypatch.setattr(tinker.TrainingClient, "forward_backward_custom", counted)
    with pytest.raises(InterruptedRunError):
        train(connection, chat_format, tmp_path, stop_at=1)
    assert custom


def test_answers_in_another_order_are_refused(connection: Connection) -> None:
    client = connection.service_client.create_lora_training_client("nano", rank=8).result()

    def answer(sign: float) -> tinker.Datum:
        return tinker.Datum(
            model_input=tinker.ModelInput.from_ints([5, 6, 7]),
            loss_fn_inputs={
                "target_tokens": tinker.TensorData.from_numpy(np.array([6, 7, 8])),
                "logprobs": tinker.TensorData.from_numpy(np.full(3, -1.0, np.float32)),
                "advantages": tinker.TensorData.from_numpy(np.array([0.0, sign, sign], np.float32)),
            },
        )

    loss: Any = "dpo"
    for signs, place in (((1.0, 1.0, -1.0, -1.0), 1), ((-1.0, 1.0), 0), ((1.0, 0.0), 1)):
        with pytest.raises(tinker.BadRequestError, match=rf"data\[{place}\]: advantages"):
            client.forward_backward([answer(s) for s in signs], loss, {"beta": 0.1}).result()


def test_private_and_empty_runs_are_refused(
    connection: Connection, chat_format: ChatFormat, tmp_path: Path
) -> None:
    from tinker_engine.recipes import PrivacyConfig

    with pytest.raises(ValueError, match="can't be private"):
        DpoConfig(privacy=PrivacyConfig())
    long = [{"role": "assistant", "content": "very " * 5000}]
    row = PreferencePair(pairs(1)[0].prompt, long, long)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="none of 1 pairs"):
        train(connection, chat_format, tmp_path, rows=[row])
