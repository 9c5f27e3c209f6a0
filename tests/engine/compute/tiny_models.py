"""Tiny random models of every supported family, and independent reference gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from evidence._tiny_families import VOCAB, tiny_model, word_tokenizer
from tinker_engine.models.base_model import LoadedBase, freeze_base
from tinker_engine.runtime.records import PrivacyPolicy, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PRIVATE = PrivacyPolicy(
    clip_norm=0.7,
    sampling_rate=0.1,
    expected_batch_size=12,
    delta=1e-5,
    noise_multiplier=1.0,
    max_epsilon=100.0,
)


def tiny_base(family: str, seed: int = 0) -> LoadedBase:
    model = tiny_model(family, seed)
    return freeze_base(family, f"/nowhere/{family}", model, word_tokenizer(), model.config)


def random_data(
    count: int, seed: int = 0, low: int = 3, high: int = 20, vocab: int = VOCAB
) -> list[TrainDatum]:
    """Random tokens; about a third of the weights are zero, the rest vary."""
    rng = np.random.default_rng(seed)
    data: list[TrainDatum] = []
    for length in rng.integers(low, high + 1, count):
        tokens = rng.integers(0, vocab, length + 1)
        weights = rng.uniform(0.2, 1.5, length) * (rng.random(length) > 0.3)
        weights[-1] = 1.0
        data.append(TrainDatum(tokens[:-1], tokens[1:], weights.astype(np.float32)))
    return data


def run_spec(**changes: Any) -> RunSpec:
    fields: dict[str, Any] = {"rank": 4, "alpha": 8.0, "targets": SEVEN, "seed": 3}
    return RunSpec(**{**fields, **changes})


def randomise(backend: TorchBackend, run_id: str, seed: int = 5) -> None:
    """Give B values too, so that gradients of A aren't all zero."""
    run = backend.training_run(run_id)
    generator = torch.Generator().manual_seed(seed)
    run.values += torch.randn(run.values.shape, generator=generator) * 0.05
    run.version += 1


Loss = Callable[[torch.Tensor, TrainDatum], torch.Tensor]


def cross_entropy(logprobs: torch.Tensor, datum: TrainDatum) -> torch.Tensor:
    """Loss sum of the logprobs (T,) of a datum's targets."""
    return (-torch.from_numpy(datum.weights).double() * logprobs).sum()


def reference_gradient(
    backend: TorchBackend,
    run_id: str,
    data: Sequence[TrainDatum],
    loss: Loss = cross_entropy,
    *,
    keep_graph: bool = False,
) -> torch.Tensor:
    """Gradient of the loss sum (trainable,) by plain autograd through transformers' own model.

    The adapter is merged into the weights; with dW the weight's gradient, dB = s dW A^T and
    dA = s B^T dW. In fp64, one example at a time, without any code of the engine.
    """
    run = backend.training_run(run_id)
    layout, scale = run.layout, run.spec.alpha / run.spec.rank
    model = tiny_base(backend.base.name).model.double()
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name in layout.modules:
            a, bt = _factors(run, name)
            delta = scale * (bt.t() @ a)
            weight = torch.nn.Parameter(modules[name].weight.detach().clone())
            weight += delta if isinstance(modules[name], torch.nn.Linear) else delta.t()
            modules[name].weight = weight
    for datum in data:
        logits = model(input_ids=torch.from_numpy(datum.tokens)[None]).logits[0]
        logprobs = torch.log_softmax(logits, dim=-1)
        targets = torch.from_numpy(datum.targets).reshape(len(datum.tokens), -1)
        found = loss(logprobs.gather(1, targets).view(datum.targets.shape), datum)
        found.backward(retain_graph=keep_graph)
    flat = torch.zeros(layout.size, dtype=torch.float64)
    for name in layout.modules:
        a, bt = _factors(run, name)
        grad = modules[name].weight.grad
        grad = grad if isinstance(modules[name], torch.nn.Linear) else grad.t()
        layout.segments[name, "B"].view(flat).copy_((scale * grad @ a.t()).t())
        layout.segments[name, "A"].view(flat).copy_(scale * bt @ grad)
    return flat[: layout.trainable]


def _factors(run: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    segments = run.layout.segments
    return (
        segments[name, "A"].view(run.values).double(),
        segments[name, "B"].view(run.values).double(),
    )


def relative_error(ours: torch.Tensor, reference: torch.Tensor) -> float:
    return float((ours.double() - reference.double()).norm() / reference.double().norm())
