"""Several runs of one server at the same time: same answers as alone, failures kept apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tinker

from tinker_engine.config import EngineConfig
from tinker_engine.connect import Connection, open_engine

TARGETS = (["v_proj"], ["q_proj", "down_proj"], ["gate_proj", "lm_head"])
STEPS = 2


def datum(number: int, weight: float = 1.0) -> tinker.Datum:
    tokens = [7 + (number * 31 + k * 17) % 900 for k in range(12)]
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:], "weights": [weight] * 11},
    )


def new_client(connection: Connection, number: int) -> tinker.TrainingClient:
    return connection.service_client.create_lora_training_client(
        "nano",
        rank=number + 1,
        seed=number,
        user_metadata={
            "lora_alpha": str(4 * (number + 1)),
            "target_modules": json.dumps(TARGETS[number]),
            "precision": "fp32",
        },
    ).result()


def train(clients: dict[int, tinker.TrainingClient]) -> dict[int, list[float]]:
    """Loss sums of each run; all requests of a step are sent before any is waited for."""
    losses: dict[int, list[float]] = {number: [] for number in clients}
    params = tinker.AdamParams(learning_rate=1e-3)
    for step in range(STEPS):
        sent = {
            number: (
                client.forward_backward([datum(number), datum(step + 50)], "cross_entropy"),
                client.optim_step(params),
            )
            for number, client in clients.items()
        }
        for number, (computed, stepped) in sent.items():
            losses[number].append(computed.result().metrics["loss:sum"])
            stepped.result()
    return losses


def test_company_changes_no_result_and_failures_stay_apart(connection: Connection) -> None:
    alone: dict[int, list[float]] = {}
    for number in range(len(TARGETS)):
        alone |= train({number: new_client(connection, number)})
    bad = new_client(connection, 0)
    clients = {number: new_client(connection, number) for number in range(len(TARGETS))}
    failing = bad.forward_backward([datum(1, weight=3e38)], "cross_entropy")
    together = train(clients)
    for number, losses in alone.items():
        assert together[number] == pytest.approx(losses, rel=1e-5)
        assert losses[1] != losses[0]
    with pytest.raises(tinker.RequestFailedError, match="not finite"):
        failing.result()


def test_deterministic_runs_are_bit_equal_in_company(tmp_path: Path) -> None:
    config = EngineConfig(home=tmp_path, base_model="nano", threads=1, deterministic=True)
    with open_engine("embedded", config=config) as connection:
        alone = train({1: new_client(connection, 1)})
        together = train({number: new_client(connection, number) for number in range(3)})
    assert together[1] == alone[1]
