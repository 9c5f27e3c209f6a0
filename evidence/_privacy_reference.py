"""Clipped gradient sums computed by others: plain autograd in a loop, and Opacus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tinker_engine.models import load_base
from tinker_engine.runtime.records import TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend


def peft_model(base_name: str, adapter: Path) -> Any:
    """A fresh copy of the base with the engine's saved adapter, trainable, as PEFT builds it."""
    from peft import PeftModel

    model = load_base(base_name).model
    return PeftModel.from_pretrained(cast(Any, model), adapter, is_trainable=True)


def trained_parameters(backend: TorchBackend, run_id: str, model: Any) -> dict[str, Tensor]:
    """The parameters the run trains, by name; the others are frozen."""
    trains_a = backend.training_run(run_id).layout.trains_a
    wanted: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        is_trained = "lora_B" in name or (trains_a and "lora_A" in name)
        parameter.requires_grad_(is_trained)
        if is_trained:
            wanted[name] = parameter
    return wanted


def flat_gradient(backend: TorchBackend, run_id: str, gradients: dict[str, Tensor]) -> Tensor:
    """PEFT's gradients in the engine's order (trainable,) fp64."""
    layout = backend.training_run(run_id).layout
    flat = torch.zeros(layout.trainable, dtype=torch.float64)
    for key, segment in layout.segments.items():
        if segment.offset < layout.trainable:
            module, factor = key
            grad = gradients[f"base_model.model.{module}.lora_{factor}.default.weight"].double()
            segment.view(flat).copy_(grad if factor == "A" else grad.t())
    return flat


def loss_sum(logits: Tensor, data: Sequence[TrainDatum]) -> Tensor:
    """Sum of -weight * logprob over padded rows (b, T, V)."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, datum in zip(logits, data, strict=True):
        logprobs = torch.log_softmax(row[: len(datum.tokens)], dim=-1)
        picked = logprobs.gather(1, torch.from_numpy(datum.targets)[:, None])[:, 0]
        total = total - (torch.from_numpy(datum.weights) * picked).sum()
    return total


def padded_tokens(data: Sequence[TrainDatum]) -> Tensor:
    """Token ids (b, T), padded on the right with 0."""
    rows = [torch.from_numpy(datum.tokens) for datum in data]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def loop_sum(
    backend: TorchBackend, run_id: str, model: Any, data: Sequence[TrainDatum], clip_norm: float
) -> Tensor:
    """One example at a time: backward, norm over all trained tensors, scale, add."""
    parameters = trained_parameters(backend, run_id, model)
    total = torch.zeros(backend.training_run(run_id).layout.trainable, dtype=torch.float64)
    for datum in data:
        for parameter in parameters.values():
            parameter.grad = None
        loss_sum(model(input_ids=padded_tokens([datum])).logits, [datum]).backward()
        gradients = {n: cast(Tensor, p.grad) for n, p in parameters.items()}
        flat = flat_gradient(backend, run_id, gradients)
        total += flat * min(1.0, clip_norm / float(flat.norm()))
    return total


def opacus_sum(
    backend: TorchBackend, run_id: str, model: Any, data: Sequence[TrainDatum], clip_norm: float
) -> Tensor:
    """Opacus' own per-sample gradients and clipping, with no noise added."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    parameters = trained_parameters(backend, run_id, model)
    wrapped = GradSampleModule(model.train(), loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(list(parameters.values()), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=clip_norm,
        expected_batch_size=len(data),
        loss_reduction="sum",
    )
    logits = wrapped(input_ids=padded_tokens(data)).logits
    loss_sum(logits, data).backward()
    optimizer.clip_and_accumulate()
    summed = {n: cast(Tensor, cast(Any, p).summed_grad) for n, p in parameters.items()}
    return flat_gradient(backend, run_id, summed)


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Norm of the difference over the norm of the reference."""
    return float((ours.double() - reference).norm() / reference.norm())
