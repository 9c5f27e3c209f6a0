"""Every loss of the table against autograd on its published form, through transformers' models."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import PRIVATE, SEVEN, VOCAB, randomise, reference_gradient, relative_error

from tinker_engine.errors import NonFiniteError
from tinker_engine.numerics.policy_losses import FORMULAS
from tinker_engine.runtime.losses import HIGH, LOSSES, LOW

POLICY = tuple(name for name in FORMULAS if not LOSSES[name].couples_data)


def torch_loss(name, logprobs, inputs):
    """The loss sum as its documentation writes it down, for autograd."""
    q, advantages = inputs["logprobs"], inputs["advantages"]
    ratio = torch.exp(logprobs - q)
    if name == "importance_sampling":
        return -(ratio * advantages).sum()
    if name == "dro":
        penalty = 0.5 * inputs["beta"] * (logprobs - q) ** 2
        return -(logprobs * advantages - penalty).sum()
    if name == "gspo":
        marked = inputs["sequence_ratio_mask"] != 0
        log_ratio = (logprobs.detach() - q)[marked].mean()
        ratio = torch.exp(log_ratio + logprobs - logprobs.detach())
    clipped = torch.clamp(ratio, inputs[LOW], inputs[HIGH])
    if name == "cispo":
        return -(clipped.detach() * logprobs * advantages).sum()
    return -torch.min(ratio * advantages, clipped * advantages).sum()


def loss_inputs(rng, logprobs, name):
    """Inputs of one example; ratios reach well beyond the clipping range on both sides."""
    length = len(logprobs)
    inputs = {
        "logprobs": logprobs + rng.normal(0, 0.4, length),
        "advantages": rng.normal(0, 1, length) * (rng.random(length) > 0.2),
        "sequence_ratio_mask": (rng.random(length) > 0.3).astype(float),
        LOW: np.full(length, 0.8),
        HIGH: np.full(length, 1.3),
        "beta": np.full(length, 0.3),
    }
    inputs["sequence_ratio_mask"][-1] = 1.0
    wanted = (*LOSSES[name].inputs, *LOSSES[name].settings)
    return {key: inputs[key].astype(np.float32) for key in wanted}


def test_one_table() -> None:
    assert set(FORMULAS) | {"cross_entropy"} == set(LOSSES)
    assert [name for name, schema in LOSSES.items() if schema.couples_data] == ["dpo"]


@given(name=st.sampled_from(POLICY), seed=st.integers(0, 2**32), length=st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_formula_equals_autograd(name: str, seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    logprobs = -rng.exponential(1.0, length)
    inputs = {k: v.astype(np.float64) for k, v in loss_inputs(rng, logprobs, name).items()}
    ours = FORMULAS[name](logprobs, inputs)
    leaf = torch.tensor(logprobs, requires_grad=True)
    expected = torch_loss(name, leaf, {k: torch.from_numpy(v) for k, v in inputs.items()})
    expected.backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(ours.loss.sum(), expected.item(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.weight, -leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


def with_inputs(backend, data, name):
    """The data with loss inputs around the model's own logprobs."""
    rng = np.random.default_rng(1)
    logprobs = backend.forward("r", data, "cross_entropy").logprobs
    return [
        dataclasses.replace(
            datum, weights=np.zeros_like(datum.weights), inputs=loss_inputs(rng, own, name)
        )
        for datum, own in zip(data, logprobs, strict=True)
    ]


def reference_of(name):
    def loss(logprobs, datum):
        inputs = {k: torch.from_numpy(v).double() for k, v in datum.inputs.items()}
        return torch_loss(name, logprobs, inputs)

    return loss


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("name", POLICY)
def test_gradient_equals_autograd(
    name, family, make_backend, make_spec, data, ledger_dir, monkeypatch
):
    # Chunks that cut examples in two, which must not cut the sequence ratio of gspo.
    monkeypatch.setattr("tinker_engine.numerics.cross_entropy.CHUNK_ELEMENTS", 96 * 17)
    backend = make_backend(family)
    backend.create_run("r", make_spec(targets=(*SEVEN, "lm_head")), ledger_dir)
    randomise(backend, "r")
    data = with_inputs(backend, data, name)
    output = backend.forward_backward("r", data, name)
    ours = backend.training_run("r").accumulator
    assert relative_error(ours, reference_gradient(backend, "r", data, reference_of(name))) < 1e-5
    total = sum(
        float(reference_of(name)(torch.from_numpy(own).double(), datum))
        for own, datum in zip(output.logprobs, data, strict=True)
    )
    assert output.loss_sum == pytest.approx(total, rel=1e-4)
    assert backend.forward("r", data, name).loss_sum == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("name", POLICY)
def test_private_run_clips_each_example(name, make_backend, make_spec, data, ledger_dir):
    backend = make_backend()
    backend.create_run("r", make_spec(privacy=PRIVATE), ledger_dir)
    randomise(backend, "r")
    data = with_inputs(backend, data, name)
    backend.forward_backward("r", data, name)
    run = backend.training_run("r")
    expected = torch.zeros(run.layout.trainable, dtype=torch.float64)
    for datum in data:
        gradient = reference_gradient(backend, "r", [datum], reference_of(name))
        expected += gradient * min(1.0, PRIVATE.clip_norm / max(float(gradient.norm()), 1e-12))
    assert relative_error(run.accumulator, expected) < 1e-5
    assert run.statistics.count == len(data)


def preference_inputs(rng, logprobs, sign):
    """Reference logprobs around the model's own, and the answer marked with its sign."""
    marks = sign * (rng.random(len(logprobs)) > 0.4)
    return {
        "logprobs": (logprobs + rng.normal(0, 0.4, len(logprobs))).astype(np.float32),
        "advantages": marks.astype(np.float32),
        "beta": np.full(len(logprobs), 0.3, dtype=np.float32),
    }


def preference_loss(logprobs, data):
    """-log sigmoid(beta (log-ratio of the chosen answer - log-ratio of the rejected one))."""
    answers = []
    for own, datum in zip(logprobs, data, strict=True):
        marked = torch.from_numpy(datum.inputs["advantages"] != 0)
        ratio = own - torch.from_numpy(datum.inputs["logprobs"]).double()
        answers.append(ratio[marked].sum())
    return -torch.nn.functional.logsigmoid(0.3 * (answers[0] - answers[1]))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("rows", [24, 400])
def test_preference_gradient_equals_autograd(
    family, rows, make_backend, make_spec, data, ledger_dir
):
    # Rows for one pair, and for several: a pair is never cut.
    backend = make_backend(family, rows=rows)
    backend.create_run("r", make_spec(), ledger_dir)
    randomise(backend, "r")
    rng = np.random.default_rng(4)
    own = backend.forward("r", data, "cross_entropy").logprobs
    data = [
        dataclasses.replace(d, inputs=preference_inputs(rng, logprobs, (-1) ** i))
        for i, (d, logprobs) in enumerate(zip(data, own, strict=True))
    ]
    output = backend.forward_backward("r", data, "dpo")
    held: list[torch.Tensor] = []

    def loss(logprobs, datum):
        held.append(logprobs)
        place = len(held) - 1
        if place % 2 == 0:
            # Keeps the graph until the pair is whole.
            return logprobs.sum() * 0.0
        return preference_loss(held[-2:], data[place - 1 : place + 1])

    expected = reference_gradient(backend, "r", data, loss, keep_graph=True)
    assert relative_error(backend.training_run("r").accumulator, expected) < 1e-5
    pairs = range(0, len(data), 2)
    total = sum(
        float(
            preference_loss(
                [torch.from_numpy(x).double() for x in output.logprobs[i : i + 2]], data[i : i + 2]
            )
        )
        for i in pairs
    )
    assert output.loss_sum == pytest.approx(total, rel=1e-4)
    assert backend.forward("r", data, "dpo").loss_sum == pytest.approx(total, rel=1e-4)


def many_targets(data, width):
    """The data with several targets per position, one of them repeated."""
    rng = np.random.default_rng(2)
    wide = []
    for i, datum in enumerate(data):
        shape = (len(datum.tokens), width if i % 3 else width - 1)
        targets = rng.integers(0, VOCAB, shape)
        targets[0, -1] = targets[0, 0]
        weights = (rng.normal(0.3, 0.5, shape) * (rng.random(shape) > 0.3)).astype(np.float32)
        wide.append(dataclasses.replace(datum, targets=targets, weights=weights))
    return wide


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_many_targets_per_position(family, make_backend, make_spec, data, ledger_dir, monkeypatch):
    monkeypatch.setattr("tinker_engine.numerics.cross_entropy.CHUNK_ELEMENTS", 96 * 17)
    targets = (*SEVEN, "lm_head") if family != "gpt2" else SEVEN
    backend = make_backend(family)
    backend.create_run("r", make_spec(targets=targets), ledger_dir)
    randomise(backend, "r")
    # One target per position and several in one request.
    data = [data[0], *many_targets(data[1:], 5)]
    output = backend.forward_backward("r", data, "cross_entropy")
    ours = backend.training_run("r").accumulator
    assert relative_error(ours, reference_gradient(backend, "r", data)) < 1e-5
    assert [a.shape for a in output.logprobs] == [d.targets.shape for d in data]
    narrow = backend.forward("r", data[:1], "cross_entropy")
    np.testing.assert_allclose(output.logprobs[0], narrow.logprobs[0], rtol=1e-5)


def test_ratio_that_overflows_adds_nothing(make_backend, make_spec, data, ledger_dir):
    backend = make_backend()
    backend.create_run("r", make_spec(), ledger_dir)
    data = with_inputs(backend, data, "importance_sampling")
    far = {**data[3].inputs, "logprobs": np.full_like(data[3].inputs["logprobs"], -1e4)}
    data[3] = dataclasses.replace(data[3], inputs=far)
    with pytest.raises(NonFiniteError):
        backend.forward_backward("r", data, "importance_sampling")
    assert float(backend.training_run("r").accumulator.abs().max()) == 0
