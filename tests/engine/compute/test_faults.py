"""Requests that must fail by themselves: updates that overflow, and more memory than there is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tinker_engine.errors import CheckpointError, NonFiniteError, RequestTooLargeError
from tinker_engine.models.base_model import load_base
from tinker_engine.numerics.adamw import stays_finite
from tinker_engine.protocol.training import read_json_call
from tinker_engine.runtime import memory
from tinker_engine.runtime.records import AdamParams, PrivacyPolicy, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend
from tinker_engine.runtime.training_run import TrainingRun

SPEC = RunSpec(4, 8.0, ("q_proj",), seed=1)


@pytest.fixture(scope="module")
def backend() -> TorchBackend:
    return TorchBackend(load_base("nano"))


@pytest.fixture
def run(backend: TorchBackend, tmp_path: Path) -> TrainingRun:
    backend.drop_run("r")
    backend.create_run("r", SPEC, tmp_path)
    tokens = np.arange(10, 20)
    backend.forward_backward(
        "r", [TrainDatum(tokens, tokens + 1, np.ones(10, dtype=np.float32))], "cross_entropy"
    )
    return backend.training_run("r")


@pytest.mark.parametrize(
    "params",
    [
        AdamParams(learning_rate=1e38),
        AdamParams(learning_rate=1e300),
        AdamParams(learning_rate=1e30, weight_decay=1e30),
        AdamParams(eps=0.0, beta1=1 - 1e-17),
    ],
)
def test_an_update_that_overflows_leaves_the_run_as_it_is(
    run: TrainingRun, params: AdamParams
) -> None:
    before, gathered = run.state_digest(), run.accumulator.clone()
    with pytest.raises(NonFiniteError, match="not applied"):
        run.step(params)
    assert run.state_digest() == before
    assert torch.equal(run.accumulator, gathered)
    assert run.step(AdamParams()).step == 1


def test_looking_at_an_update_does_not_change_it(backend: TorchBackend, tmp_path: Path) -> None:
    ends: list[str] = []
    # The first is certain to stay finite, the second is tried on copies; eps makes no difference.
    for eps in (1e-12, 1e-16):
        backend.drop_run("r")
        backend.create_run("r", SPEC, tmp_path)
        run = backend.training_run("r")
        run.add_gradient(torch.full((run.layout.trainable,), 1e6))
        params = AdamParams(eps=eps, grad_clip_norm=1e9)
        assert stays_finite(run.accumulator, params) == (eps == 1e-12)
        run.step(params)
        ends.append(run.state_digest())
    assert ends[0] == ends[1]


def test_gradients_whose_sum_overflows_are_not_added(run: TrainingRun) -> None:
    before = run.accumulator.clone()
    largest = torch.full_like(before, torch.finfo(torch.float32).max)
    run.clear_gradients()
    run.add_gradient(largest.clone())
    with pytest.raises(NonFiniteError):
        run.add_gradient(largest.clone())
    assert torch.equal(run.accumulator, largest)


def test_more_memory_than_there_is_is_refused_with_numbers(
    backend: TorchBackend, run: TrainingRun
) -> None:
    wide = np.zeros((100, 4000), dtype=np.int64)
    datum = TrainDatum(np.arange(100), wide, np.zeros(wide.shape, dtype=np.float32))
    before = run.accumulator.clone()
    memory.limit_to(memory.resident_bytes() + (4 << 20))
    try:
        with pytest.raises(RequestTooLargeError, match=r"at least [0-9]+ MiB .* [0-9]+ MiB are"):
            backend.forward_backward("r", [datum], "cross_entropy")
    finally:
        memory.limit_to(None)
    assert torch.equal(run.accumulator, before)
    backend.forward_backward("r", [datum], "cross_entropy")


def test_a_small_body_that_stands_for_much_is_refused_before_it_is_unfolded() -> None:
    sparse = (
        '{"data": [], "dtype": "int64", "shape": [1000, 100000],'
        ' "sparse_crow_indices": [0], "sparse_col_indices": []}'
    )
    datum = (
        '{"model_input": {"chunks": [{"type": "encoded_text", "tokens": [5]}]},'
        f' "loss_fn_inputs": {{"target_tokens": {sparse}}}}}'
    )
    data = ",".join([datum] * 2000)
    body = (
        '{"model_id": "r", "seq_id": 1, "forward_backward_input":'
        f' {{"data": [{data}], "loss_fn": "cross_entropy"}}}}'
    )
    call = read_json_call(body.encode(), forward_only=False)
    with pytest.raises(RequestTooLargeError, match="MiB"):
        call.read_data()


@pytest.mark.parametrize("is_repeated", [True, False], ids=["done before", "begun before"])
def test_a_private_step_that_was_released_is_never_released_again(
    backend: TorchBackend, tmp_path: Path, is_repeated: bool
) -> None:
    policy = PrivacyPolicy(1.0, 0.1, 2.0, 1e-5, noise_multiplier=2.0, max_epsilon=1000.0)
    spec = RunSpec(4, 8.0, ("q_proj",), seed=1, privacy=policy)
    backend.drop_run("p")
    backend.create_run("p", spec, tmp_path / "ledger")
    state = tmp_path / "before"
    backend.save_progress("p", state)
    backend.optim_step("p", AdamParams())
    after = backend.training_run("p").state_digest()
    for nudge in (0.0, 1e-4):
        backend.drop_run("p")
        backend.restore_progress("p", state, tmp_path / "ledger")
        run = backend.training_run("p")
        assert run.mechanism is not None
        # A replay that went another way, as with another number of threads.
        run.values[0] += nudge
        if nudge:
            with pytest.raises(CheckpointError, match="second one must not be released"):
                backend.optim_step("p", AdamParams(), is_repeated=is_repeated)
        else:
            backend.optim_step("p", AdamParams(), is_repeated=is_repeated)
            assert run.state_digest() == after
            assert run.paid == 1
        assert run.mechanism.steps == 1
    backend.drop_run("p")


def without_ledger_facts(state: Path) -> None:
    """As a release wrote it that did not note what the ledger held."""
    with safe_open(state, framework="pt") as stored:
        facts = json.loads(stored.metadata()["progress"])
        tensors = {name: stored.get_tensor(name) for name in facts["checksums"]}
    del facts["ledger_steps"], facts["ledger_digest"]
    save_file(tensors, state, metadata={"progress": json.dumps(facts)})


@pytest.mark.parametrize("is_old_state", [False, True])
def test_a_ledger_without_what_a_state_paid_is_refused(
    backend: TorchBackend, tmp_path: Path, is_old_state: bool
) -> None:
    policy = PrivacyPolicy(1.0, 0.1, 2.0, 1e-5, noise_multiplier=2.0, max_epsilon=1000.0)
    spec = RunSpec(4, 8.0, ("q_proj",), seed=1, privacy=policy)
    for name in ("another", "whole"):
        backend.create_run(name, spec, tmp_path / name)
        for _ in range(3):
            if name == "whole" and not (tmp_path / "older").exists():
                backend.optim_step(name, AdamParams())
                shutil.copytree(tmp_path / name, tmp_path / "older")
            backend.optim_step(name, AdamParams())
        backend.save_progress(name, tmp_path / "state")
        # Events after the state are what every crash leaves.
        backend.optim_step(name, AdamParams())
        backend.drop_run(name)
    if is_old_state:
        without_ledger_facts(tmp_path / "state")
    refusals = {"none": "is missing", "older": "holds 1 events"}
    if not is_old_state:
        refusals["another"] = "is not the ledger"
    for name, words in refusals.items():
        with pytest.raises(CheckpointError, match=words):
            backend.restore_progress("p", tmp_path / "state", tmp_path / name)
    assert not (tmp_path / "none").exists()
    backend.restore_progress("p", tmp_path / "state", tmp_path / "whole")
    backend.drop_run("p")


def test_a_pair_that_is_never_cut_counts_whole() -> None:
    tokens = np.arange(100)
    data = [TrainDatum(tokens, tokens, np.ones(100, dtype=np.float32))] * 4
    size = memory.ModelSize(layers=8, hidden_size=256, hidden_bytes=2)
    single, pair = (memory.training_bytes(data, size, 64, together=n) for n in (1, 2))
    assert pair - single == 100 * (8 * 256 * 2 + 12)
