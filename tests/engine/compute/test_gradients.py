"""Gradients equal those of plain autograd through transformers' own models."""

from __future__ import annotations

import pytest
import torch
from tiny_models import (
    PRIVATE,
    SEVEN,
    random_data,
    randomise,
    reference_gradient,
    relative_error,
)

from evidence._tiny_families import CONFIGS
from tinker_engine.models.generic_network import GenericNetwork
from tinker_engine.models.llama_network import LlamaNetwork, make_llama_network
from tinker_engine.numerics.packing import Limits
from tinker_engine.runtime import adapted_base

FAST = set(CONFIGS) - {"gpt2", "gpt-neox"}


@pytest.mark.parametrize("family", CONFIGS)
def test_summed_gradient_of_both_factors(family, make_backend, make_spec, data, ledger_dir):
    backend = make_backend(family)
    assert isinstance(backend.network, LlamaNetwork if family in FAST else GenericNetwork)
    backend.create_run("r", make_spec(), ledger_dir)
    randomise(backend, "r")
    backend.forward_backward("r", data, "cross_entropy")
    ours = backend.training_run("r").accumulator
    assert relative_error(ours, reference_gradient(backend, "r", data)) < 1e-5


@pytest.mark.parametrize("targets", [("lm_head",), (*SEVEN, "lm_head"), ("v_proj",)])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_other_targets(family, targets, make_backend, make_spec, data, ledger_dir, monkeypatch):
    # Chunks that cut examples in two.
    monkeypatch.setattr("tinker_engine.numerics.cross_entropy.CHUNK_ELEMENTS", 96 * 17)
    backend = make_backend(family)
    backend.create_run("r", make_spec(targets=targets), ledger_dir)
    randomise(backend, "r")
    backend.forward_backward("r", data, "cross_entropy")
    ours = backend.training_run("r").accumulator
    assert relative_error(ours, reference_gradient(backend, "r", data)) < 1e-5


def test_unmerged_adapters_give_the_same(make_backend, make_spec, data, ledger_dir, monkeypatch):
    monkeypatch.setattr(adapted_base, "MERGE_LIMIT_BYTES", 0)
    backend = make_backend("qwen2")
    backend.create_run("r", make_spec(targets=(*SEVEN, "lm_head")), ledger_dir)
    randomise(backend, "r")
    backend.forward_backward("r", data, "cross_entropy")
    ours = backend.training_run("r").accumulator
    assert relative_error(ours, reference_gradient(backend, "r", data)) < 1e-5


@pytest.mark.parametrize("lora_train", ["both", "B"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_clipped_sum_equals_a_loop(
    family, lora_train, make_backend, make_spec, data, ledger_dir, monkeypatch
):
    monkeypatch.setattr("tinker_engine.numerics.cross_entropy.CHUNK_ELEMENTS", 96 * 17)
    targets = (*SEVEN, "lm_head") if family != "gpt2" else SEVEN
    backend = make_backend(family)
    spec = make_spec(lora_train=lora_train, targets=targets, privacy=PRIVATE)
    backend.create_run("r", spec, ledger_dir)
    randomise(backend, "r")
    # A light example among heavy ones, so that some are clipped and some are not.
    light = data[0].__class__(data[0].tokens, data[0].targets, data[0].weights * 1e-4)
    data = [*data, light]
    backend.forward_backward("r", data, "cross_entropy")
    run = backend.training_run("r")
    expected = torch.zeros(run.layout.trainable, dtype=torch.float64)
    clipped = 0
    for datum in data:
        gradient = reference_gradient(backend, "r", [datum])
        norm = float(gradient.norm())
        clipped += norm > PRIVATE.clip_norm
        expected += gradient * min(1.0, PRIVATE.clip_norm / norm)
    assert relative_error(run.accumulator, expected) < 1e-5
    assert run.statistics.clipped == clipped
    assert 0 < clipped < len(data)


def test_each_clipped_example_is_within_the_bound(make_backend, make_spec, data, ledger_dir):
    backend = make_backend()
    backend.create_run("r", make_spec(privacy=PRIVATE), ledger_dir)
    run = backend.training_run("r")
    for datum in data:
        run.clear_gradients()
        backend.forward_backward("r", [datum], "cross_entropy")
        assert float(run.accumulator.norm()) <= PRIVATE.clip_norm


@pytest.mark.parametrize("family", ["llama", "mistral-window", "gemma2", "gemma3"])
def test_long_examples_are_attended_in_blocks(
    family, make_backend, make_spec, ledger_dir, monkeypatch
):
    monkeypatch.setattr("tinker_engine.numerics.attention.DENSE_LENGTH", 5)
    data = random_data(6)
    backend = make_backend(family)
    backend.create_run("r", make_spec(), ledger_dir)
    backend.forward_backward("r", data, "cross_entropy")
    ours = backend.training_run("r").accumulator
    assert relative_error(ours, reference_gradient(backend, "r", data)) < 1e-5


def test_own_and_generic_network_agree(make_base):
    base = make_base("qwen3")
    generic = GenericNetwork(base)
    fast = make_llama_network(base)
    assert fast is not None
    tokens = torch.arange(10) % base.info.vocab_size
    hidden = []
    for network in (generic, fast):
        (batch,) = network.plan([10], Limits())
        adapted = network.adapt({}, dtype=torch.float32, merge=True)
        hidden.append(network.hidden(adapted, tokens, batch, None))
    assert torch.allclose(hidden[0], hidden[1], atol=1e-5)


@pytest.mark.peer
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt-neox"])
def test_gradients_equal_peft(family, make_base, make_backend, make_spec, data, tmp_path):
    """The saved adapter, loaded by PEFT and trained by autograd, has our gradients."""
    from peft import PeftModel

    backend = make_backend(family)
    backend.create_run("r", make_spec(), tmp_path / "ledger")
    randomise(backend, "r")
    backend.save_adapter("r", tmp_path / "adapter")
    backend.forward_backward("r", data, "cross_entropy")
    run = backend.training_run("r")
    peft = PeftModel.from_pretrained(
        make_base(family).model, tmp_path / "adapter", is_trainable=True
    )
    for datum in data:
        logits = peft(input_ids=torch.from_numpy(datum.tokens)[None]).logits[0]
        picked = torch.log_softmax(logits, -1).gather(1, torch.from_numpy(datum.targets)[:, None])
        (-torch.from_numpy(datum.weights) * picked[:, 0]).sum().backward()
    parameters = dict(peft.named_parameters())
    flat = torch.zeros(run.layout.size)
    for name in run.layout.modules:
        for factor in ("A", "B"):
            grad = parameters[f"base_model.model.{name}.lora_{factor}.default.weight"].grad
            target = run.layout.segments[name, factor].view(flat)
            target.copy_(grad if factor == "A" else grad.t())
    assert relative_error(run.accumulator, flat[: run.layout.trainable]) < 1e-5
