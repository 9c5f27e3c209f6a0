"""Losses as a client asks for them: the real SDK against the embedded engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tinker
import torch
from test_wire_privacy import PRIVATE

from tinker_engine.connect import Connection, load_tokenizer

TEXT = "Dear customer, the repair of your bicycle is done and it waits for you in the workshop."
LOW_HIGH = {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}
CONFIGS: dict[str, dict[str, float]] = {
    "importance_sampling": {},
    "ppo": LOW_HIGH,
    "cispo": LOW_HIGH,
    "dro": {"beta": 0.2},
    "gspo": LOW_HIGH,
}


@pytest.fixture(scope="module")
def tokens(connection: Connection) -> list[int]:
    return load_tokenizer(connection).encode(TEXT)


@pytest.fixture(scope="module")
def client(connection: Connection) -> tinker.TrainingClient:
    return connection.service_client.create_lora_training_client(
        "nano", rank=4, seed=3, train_unembed=False
    ).result()


def policy_datum(tokens: list[int], own: np.ndarray, **changes: Any) -> tinker.Datum:
    """The first half is prompt (advantage 0); the sampler's logprobs are the given ones."""
    length = len(tokens) - 1
    sampled = np.arange(length) >= length // 2
    inputs: dict[str, Any] = {
        "target_tokens": np.array(tokens[1:], dtype=np.int64),
        "logprobs": own.astype(np.float32),
        "advantages": np.where(sampled, 0.7, 0.0).astype(np.float32),
    }
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={k: v for k, v in {**inputs, **changes}.items() if v is not None},
    )


def plain_datum(tokens: list[int], **inputs: Any) -> tinker.Datum:
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], **inputs},
    )


def own_logprobs(client: tinker.TrainingClient, tokens: list[int]) -> np.ndarray:
    result = client.forward([plain_datum(tokens)], "cross_entropy").result()
    return result.loss_fn_outputs[0]["logprobs"].to_numpy()


def mask_of(loss: str, tokens: list[int]) -> dict[str, Any]:
    if loss != "gspo":
        return {}
    length = len(tokens) - 1
    return {"sequence_ratio_mask": (np.arange(length) >= length // 2).astype(np.float32)}


@pytest.mark.parametrize("loss", CONFIGS)
def test_policy_losses_raise_what_is_rewarded(
    connection: Connection, tokens: list[int], loss: Any
) -> None:
    client = connection.service_client.create_lora_training_client(
        "nano", rank=4, seed=3, train_unembed=False
    ).result()
    before = own_logprobs(client, tokens)
    datum = policy_datum(tokens, before, **mask_of(loss, tokens))
    first = client.forward_backward([datum, datum], loss, CONFIGS[loss])
    step = client.optim_step(tinker.AdamParams(learning_rate=2e-3))
    result = first.result()
    step.result()
    np.testing.assert_allclose(result.loss_fn_outputs[1]["logprobs"].to_numpy(), before, atol=1e-5)
    # On the sampler's own policy the ratio is 1: the loss is -A, or -A log p where it says so.
    gain = np.ones_like(before) if loss not in ("cispo", "dro") else before
    half = (len(tokens) - 1) // 2
    assert result.metrics["loss:sum"] == pytest.approx(-2 * 0.7 * gain[half:].sum(), rel=1e-3)
    elementwise = result.loss_fn_outputs[0]["elementwise_loss"].to_numpy()
    assert 2 * elementwise.sum() == pytest.approx(result.metrics["loss:sum"], rel=1e-4)
    after = own_logprobs(client, tokens)
    assert after[half:].sum() > before[half:].sum()


def test_settings_can_come_per_token(client: tinker.TrainingClient, tokens: list[int]) -> None:
    before = own_logprobs(client, tokens)
    away = before - np.linspace(-0.5, 0.5, len(before))
    whole = client.forward([policy_datum(tokens, away)], "ppo", LOW_HIGH).result()
    per_token = policy_datum(
        tokens,
        away,
        clip_low_threshold=np.full(len(away), 0.9, dtype=np.float32),
        clip_high_threshold=np.full(len(away), 1.1, dtype=np.float32),
    )
    same = client.forward([per_token], "ppo").result()
    assert same.metrics["loss:sum"] == whole.metrics["loss:sum"]
    default = client.forward([policy_datum(tokens, away)], "ppo").result()
    assert default.metrics["loss:sum"] < whole.metrics["loss:sum"]


@pytest.mark.parametrize(
    ("loss", "settings", "changes", "expected"),
    [
        ("ppo", {"clip": 0.2}, {}, "no setting 'clip'"),
        ("ppo", {"clip_low_threshold": -1.0}, {}, "expected a number >= 0"),
        ("ppo", {"clip_low_threshold": 2.0}, {}, "low <= high"),
        ("dro", {}, {}, "beta is missing"),
        ("cross_entropy", {"beta": 1.0}, {}, "no setting 'beta'"),
        ("importance_sampling", {}, {"advantages": None}, "needs advantages"),
        ("ppo", {}, {"logprobs": np.zeros(3, dtype=np.float32)}, "logprobs has shape"),
        ("gspo", {}, {}, "needs sequence_ratio_mask"),
        ("cispo", {}, {"weights": np.zeros(3, dtype=np.float32)}, "but got weights"),
        ("stable_reinforce", {}, {}, "use importance_sampling"),
    ],
)
def test_refusals_say_what_is_wrong(
    client: tinker.TrainingClient,
    tokens: list[int],
    loss: Any,
    settings: dict[str, float],
    changes: dict[str, Any],
    expected: str,
) -> None:
    datum = policy_datum(tokens, np.zeros(len(tokens) - 1), **changes)
    with pytest.raises(tinker.BadRequestError, match=expected):
        client.forward_backward([datum], loss, settings).result()


def test_custom_loss_on_the_client(connection: Connection, tokens: list[int]) -> None:
    """A loss over two examples, computed by the SDK; its step equals that of the built-in one."""
    service = connection.service_client
    clients = [
        service.create_lora_training_client("nano", rank=4, seed=3, train_unembed=False).result()
        for _ in range(2)
    ]
    data = [plain_datum(tokens), plain_datum(tokens[:9])]

    def scaled(
        _data: list[tinker.Datum], logprobs: list[torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        return -0.5 * torch.cat(logprobs).sum(), {"seen": float(len(logprobs))}

    result = clients[0].forward_backward_custom(data, scaled).result()
    halved = [
        plain_datum(t, weights=np.full(len(t) - 1, 0.5, dtype=np.float32))
        for t in (tokens, tokens[:9])
    ]
    expected = clients[1].forward_backward(halved, "cross_entropy").result()
    assert result.metrics["loss:sum"] == pytest.approx(expected.metrics["loss:sum"], rel=1e-5)
    assert result.metrics["seen"] == 2.0
    for client in clients:
        client.optim_step(tinker.AdamParams(learning_rate=1e-2)).result()
    own, other = (own_logprobs(client, tokens) for client in clients)
    np.testing.assert_allclose(own, other, atol=1e-5)

    def coupled(
        _data: list[tinker.Datum], logprobs: list[torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        margin = logprobs[0].sum() - logprobs[1].sum()
        return -torch.nn.functional.logsigmoid(0.1 * margin), {}

    before = own.sum() - own_logprobs(clients[0], tokens[:9]).sum()
    for _ in range(3):
        clients[0].forward_backward_custom(data, coupled).result()
        clients[0].optim_step(tinker.AdamParams(learning_rate=1e-2)).result()
    after = own_logprobs(clients[0], tokens).sum() - own_logprobs(clients[0], tokens[:9]).sum()
    assert after > before


def test_traced_custom_loss_runs_on_the_client(connection: Connection, tokens: list[int]) -> None:
    service = connection.service_client
    client = service.create_lora_training_client(
        "nano", rank=2, seed=3, train_unembed=False
    ).result()

    def squared(logprobs: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return (logprobs**2).sum(), {"custom/square:sum": (logprobs**2).sum()}

    handle = service.create_custom_loss(squared, {"logprobs": 1}).result()
    result = client.forward_backward_custom([plain_datum(tokens)], handle).result()
    expected = float((own_logprobs(client, tokens) ** 2).sum())
    assert result.metrics["custom/square:sum"] == pytest.approx(expected, rel=1e-4)


def test_many_and_sparse_targets(client: tinker.TrainingClient, tokens: list[int]) -> None:
    length = len(tokens) - 1
    targets = torch.zeros(length, 6, dtype=torch.int64)
    weights = torch.zeros(length, 6)
    targets[:, 0] = torch.tensor(tokens[1:])
    weights[:, 0] = 1.0
    targets[3, 5], weights[3, 5] = 17, 0.25
    wide = tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": targets, "weights": weights},
    )
    assert wide.loss_fn_inputs["weights"].sparse_crow_indices is not None
    dense = tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={
            "target_tokens": tinker.TensorData.from_torch(targets),
            "weights": tinker.TensorData.from_torch(weights),
        },
    )
    result = client.forward([wide, plain_datum(tokens), dense], "cross_entropy").result()
    sparse, narrow, full = (o["logprobs"].to_numpy() for o in result.loss_fn_outputs)
    assert sparse.shape == full.shape == (length, 6)
    np.testing.assert_array_equal(sparse, full)
    np.testing.assert_allclose(sparse[:, 0], narrow, rtol=1e-5)
    expected = -(2 * (narrow.sum() + 0.25 * sparse[3, 5]) + narrow.sum())
    assert result.metrics["loss:sum"] == pytest.approx(expected, rel=1e-5)
    again = client.forward_backward([wide, dense], "cross_entropy").result()
    assert len(again.loss_fn_outputs) == 2


def test_private_run_takes_losses_of_single_examples(
    connection: Connection, tokens: list[int]
) -> None:
    client = connection.service_client.create_lora_training_client(
        "nano", rank=4, seed=2, train_unembed=False, user_metadata=PRIVATE
    ).result()
    logprobs = own_logprobs(client, tokens)
    for loss in ("ppo", "gspo"):
        datum = policy_datum(tokens, logprobs, **mask_of(loss, tokens))
        client.forward_backward([datum], loss, CONFIGS[loss]).result()
    metrics = client.optim_step(tinker.AdamParams(learning_rate=1e-3)).result().metrics
    assert metrics is not None
    assert metrics["owner:batch_size"] == 2.0

    chosen = policy_datum(tokens, logprobs)
    marks = chosen.loss_fn_inputs["advantages"].to_numpy()
    pair = [chosen, policy_datum(tokens, logprobs, advantages=-marks)]
    with pytest.raises(tinker.RequestFailedError, match="couples data"):
        client.forward_backward(pair, "dpo", {"beta": 0.1}).result()  # type: ignore[arg-type]

    def rising(
        _data: list[tinker.Datum], logprobs: list[torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        return torch.cat(logprobs).sum(), {}

    with pytest.raises(tinker.RequestFailedError, match="may couple examples"):
        client.forward_backward_custom([plain_datum(tokens)], rising).result()
