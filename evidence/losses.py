"""Every loss of the engine has the gradient that autograd finds through transformers and PEFT.

For each loss: 12 random examples on `nano` with a random adapter on all seven module kinds, once
through the engine and once by plain autograd on the loss as its documentation writes it. A private
run's clipped sum is compared with a loop that clips one example at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from evidence._privacy_reference import (
    flat_gradient,
    peft_model,
    relative_error,
    trained_parameters,
)
from evidence._report import conclude
from evidence.privacy import POLICY, SEVEN, fp32_backend
from tinker_engine.models import load_base
from tinker_engine.runtime.losses import HIGH, LOSSES, LOW
from tinker_engine.runtime.records import FloatArray, LossName, PrivacyPolicy, RunSpec, TrainDatum
from tinker_engine.runtime.torch_backend import TorchBackend

EXAMPLES = 12
BASE = "nano"
BOUND = 1e-5


def written_loss(name: str, logprobs: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """The loss sum of one example, as documented; autograd does the rest."""
    if name == "cross_entropy":
        return -(inputs["weights"] * logprobs).sum()
    q, advantages = inputs["logprobs"], inputs["advantages"]
    if name == "dpo":
        chosen, rejected = ((logprobs - q)[advantages == sign].sum() for sign in (1, -1))
        return -torch.nn.functional.logsigmoid(inputs["beta"][0] * (chosen - rejected))
    if name == "dro":
        return -(logprobs * advantages - 0.5 * inputs["beta"] * (logprobs - q) ** 2).sum()
    ratio = torch.exp(logprobs - q)
    if name == "importance_sampling":
        return -(ratio * advantages).sum()
    if name == "gspo":
        marked = inputs["sequence_ratio_mask"] != 0
        ratio = torch.exp((logprobs.detach() - q)[marked].mean() + logprobs - logprobs.detach())
    clipped = torch.clamp(ratio, inputs[LOW], inputs[HIGH])
    if name == "cispo":
        return -(clipped.detach() * logprobs * advantages).sum()
    return -torch.min(ratio * advantages, clipped * advantages).sum()


def random_inputs(rng: np.random.Generator, own: FloatArray, name: str) -> dict[str, FloatArray]:
    """Inputs around the model's own logprobs; ratios pass the clipping range on both sides."""
    length = len(own)
    known = {
        "logprobs": own + rng.normal(0, 0.4, length),
        "advantages": rng.normal(0, 1, length) * (rng.random(length) > 0.2),
        "sequence_ratio_mask": np.ones(length),
        LOW: np.full(length, 0.8),
        HIGH: np.full(length, 1.3),
        "beta": np.full(length, 0.3),
    }
    wanted = (*LOSSES[name].inputs, *LOSSES[name].settings)
    return {key: known[key].astype(np.float32) for key in wanted}


def examples(backend: TorchBackend, name: LossName) -> list[TrainDatum]:
    """Random tokens of 5 to 40 positions; for cross-entropy some with three targets each."""
    rng = np.random.default_rng(7)
    data: list[TrainDatum] = []
    for i, length in enumerate(rng.integers(5, 41, EXAMPLES)):
        tokens = rng.integers(0, backend.base.vocab_size, length + 1)
        shape = (length, 3) if name == "cross_entropy" and i % 2 else (length,)
        targets = rng.integers(0, backend.base.vocab_size, shape)
        weights = rng.uniform(0, 1, shape).astype(np.float32)
        data.append(TrainDatum(tokens[:-1], targets, weights))
    if name == "cross_entropy":
        return data
    own = backend.forward("r", data, "cross_entropy").logprobs
    inputs = [random_inputs(rng, logprobs, name) for logprobs in own]
    if name == "dpo":
        # Prompt, chosen and rejected: marks, not amounts.
        for i, values in enumerate(inputs):
            values["advantages"] = np.where(values["advantages"] == 0, 0, (-1) ** i).astype("f4")
    return [replace(datum, inputs=own) for datum, own in zip(data, inputs, strict=True)]


class Reference(NamedTuple):
    """What autograd finds: each example's gradient over all trained tensors, and the loss sum.

    An example is one datum, or as many as the loss takes together.
    """

    gradients: list[Tensor]
    loss: float


def reference(
    backend: TorchBackend, base: str, adapter: Path, data: Sequence[TrainDatum], name: LossName
) -> Reference:
    """Example by example through transformers and PEFT."""
    model = peft_model(base, adapter)
    parameters = trained_parameters(backend, "r", model)
    gradients: list[Tensor] = []
    total = 0.0
    together = LOSSES[name].together
    for first in range(0, len(data), together):
        example = data[first : first + together]
        for parameter in parameters.values():
            parameter.grad = None
        picked = torch.cat([_picked(model, datum) for datum in example])
        inputs = [{"weights": datum.weights, **datum.inputs} for datum in example]
        tensors = {
            key: torch.from_numpy(np.concatenate([own[key] for own in inputs])) for key in inputs[0]
        }
        loss = written_loss(name, picked, tensors)
        loss.backward()
        total += loss.item()
        found = {n: cast(Tensor, p.grad) for n, p in parameters.items()}
        gradients.append(flat_gradient(backend, "r", found))
    return Reference(gradients, total)


def _picked(model: Any, datum: TrainDatum) -> Tensor:
    """Log-probabilities of a datum's targets, shaped as they are."""
    logits = model(input_ids=torch.from_numpy(datum.tokens)[None]).logits[0]
    targets = torch.from_numpy(datum.targets).reshape(len(datum.tokens), -1)
    return torch.log_softmax(logits, -1).gather(1, targets).view(datum.targets.shape)


def check(name: LossName, base: str = BASE, targets: tuple[str, ...] = SEVEN) -> dict[str, float]:
    """Relative errors of the engine's loss, gradient and clipped sum to the reference.

    A loss that couples data is refused in private runs and has no clipped sum.
    """
    backend = fp32_backend(load_base(base))
    with tempfile.TemporaryDirectory() as folder:
        start_run(backend, Path(folder), None, targets)
        data = examples(backend, name)
        backend.save_adapter("r", Path(folder) / "adapter")
        gradients, loss = reference(backend, base, Path(folder) / "adapter", data, name)
        ours = backend.forward_backward("r", data, name).loss_sum
        plain = relative_error(backend.training_run("r").accumulator, torch.stack(gradients).sum(0))
        backend.drop_run("r")
        if LOSSES[name].couples_data:
            return {"error": plain, "loss_error": abs(ours - loss) / abs(loss)}
        # The median norm, so that half of the examples are clipped.
        clip_norm = float(np.median([float(gradient.norm()) for gradient in gradients]))
        start_run(backend, Path(folder), replace(POLICY, clip_norm=clip_norm), targets)
        backend.forward_backward("r", data, name)
        run = backend.training_run("r")
        scaled = [g * min(1.0, clip_norm / float(g.norm())) for g in gradients]
        private = relative_error(run.accumulator, torch.stack(scaled).sum(0))
    return {
        "error": plain,
        "clipped_error": private,
        "loss_error": abs(ours - loss) / abs(loss),
        "clipped": run.statistics.clipped,
    }


def start_run(
    backend: TorchBackend,
    folder: Path,
    policy: PrivacyPolicy | None,
    targets: tuple[str, ...] = SEVEN,
) -> None:
    """A run with a random adapter, the same every time."""
    spec = RunSpec(8, 16.0, targets, seed=2, privacy=policy)
    backend.create_run("r", spec, folder / "ledger")
    run = backend.training_run("r")
    generator = torch.Generator().manual_seed(0)
    run.values += 0.02 * torch.randn(run.values.shape, generator=generator)
    run.version += 1


def main() -> None:
    """Check all losses, plain and private."""
    figures: dict[str, dict[str, float]] = {}
    for name in LOSSES:
        figures[name] = check(cast(LossName, name))
        print(f"{name}: {figures[name]}", flush=True)
    worst = max(v for row in figures.values() for k, v in row.items() if k.endswith("error"))
    is_mixed = all(0 < row["clipped"] < EXAMPLES for row in figures.values() if "clipped" in row)
    print(f"largest relative error {worst:.2e}, bound {BOUND:g}")
    conclude("losses", {"examples": EXAMPLES, **figures}, holds=worst < BOUND and is_mixed)


if __name__ == "__main__":
    main()
