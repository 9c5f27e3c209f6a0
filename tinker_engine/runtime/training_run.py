"""One LoRA run: its parameters, gradient accumulator, optimizer and, if private, its mechanism.

A run that has a mechanism has no other way to change its parameters than `step`, which goes
through it. Losses and logprobs of a private run are not private: they are for its owner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tinker_engine.errors import NonFiniteError, RequestError
from tinker_engine.models.digests import tensor_bytes
from tinker_engine.numerics.adamw import AdamState, adamw_step, clip_gradient
from tinker_engine.numerics.lora import LoraLayout
from tinker_engine.privacy import PrivateMechanism
from tinker_engine.runtime.records import AdamParams, RunSpec, StepResult


@dataclass
class ClipStatistics:
    """Norms before clipping since the last step. Not private: for the owner alone."""

    count: int = 0
    clipped: int = 0
    norm_sum: float = 0.0

    def add(self, norms: Tensor, clip_norm: float) -> None:
        """Count the norms (n,) of one microbatch."""
        self.count += len(norms)
        self.clipped += int((norms > clip_norm).sum())
        self.norm_sum += float(norms.sum())

    def metrics(self) -> dict[str, float]:
        """Mean norm and fraction of clipped examples; zeros for an empty batch."""
        count = max(self.count, 1)
        return {
            "owner:batch_size": float(self.count),
            "owner:clipped_fraction": self.clipped / count,
            "owner:mean_gradient_norm": self.norm_sum / count,
        }


@dataclass
class TrainingRun:
    """State of one run; `values` (size,) fp32 holds all LoRA factors, the trained ones first.

    `accumulator` (trainable,) is fp64 in a private run (sum of clipped gradients), else fp32.
    `targets` are the suffixes as they apply to the base.
    """

    spec: RunSpec
    targets: tuple[str, ...]
    layout: LoraLayout
    values: Tensor
    adam: AdamState
    mechanism: PrivateMechanism | None = None
    accumulator: Tensor = field(default_factory=lambda: torch.zeros(0))
    gradients: int = 0
    version: int = 0
    statistics: ClipStatistics = field(default_factory=ClipStatistics)

    def __post_init__(self) -> None:
        self.clear_gradients()

    def clear_gradients(self) -> None:
        """Forget what was accumulated since the last step."""
        dtype = torch.float64 if self.mechanism is not None else torch.float32
        self.accumulator = torch.zeros(self.layout.trainable, dtype=dtype)
        self.gradients = 0
        self.statistics = ClipStatistics()

    def add_gradient(self, gradient: Tensor) -> None:
        """Add one request's gradient sum (trainable,), all of it or nothing; it is taken over.

        Raises NonFiniteError without adding anything.
        """
        if not bool(torch.isfinite(gradient).all()):
            raise NonFiniteError(
                "the gradient is not finite; lower the learning rate or look for extreme weights"
            )
        if self.gradients == 0:
            self.accumulator = gradient
        else:
            self.accumulator += gradient
        self.gradients += 1

    def state_digest(self) -> str:
        """SHA-256 of weights, moments and step: what a private update is drawn for."""
        digest = hashlib.sha256(f"tinker-engine run state v1|{self.adam.step}\n".encode())
        for tensor in (self.values, self.adam.first, self.adam.second):
            digest.update(tensor_bytes(tensor))
        return digest.hexdigest()

    def step(self, params: AdamParams) -> StepResult:
        """Apply one AdamW update and clear the accumulator; see Backend.optim_step."""
        gradient, metrics = self._private_gradient() if self.mechanism else self._plain_gradient()
        metrics["optim:gradient_norm"] = clip_gradient(gradient, params.grad_clip_norm)
        adamw_step(self.values[: self.layout.trainable], gradient, self.adam, params)
        self.version += 1
        self.clear_gradients()
        return StepResult(step=self.adam.step, metrics=metrics)

    def _plain_gradient(self) -> tuple[Tensor, dict[str, float]]:
        if self.gradients == 0:
            raise RequestError("optim_step without forward_backward: there is no gradient to apply")
        gradient = self.accumulator
        if not bool(torch.isfinite(gradient).all()):
            self.clear_gradients()
            raise NonFiniteError("the accumulated gradient overflowed; the step was not applied")
        return gradient, {}

    def _private_gradient(self) -> tuple[Tensor, dict[str, float]]:
        mechanism = self.mechanism
        assert mechanism is not None
        update = mechanism.release(self.state_digest(), self.accumulator.numpy())
        metrics = {
            "privacy:epsilon": mechanism.epsilon(),
            "privacy:steps": float(mechanism.steps),
            "privacy:noise_multiplier": mechanism.policy.noise_multiplier,
            **self.statistics.metrics(),
        }
        return torch.from_numpy(np.ascontiguousarray(update)), metrics


def factors(layout: LoraLayout, values: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """A (rank, in) and B (out, rank) of every module, as adapter files hold them."""
    segments = layout.segments
    return {
        name: (segments[name, "A"].view(values), segments[name, "B"].view(values).t())
        for name in layout.modules
    }


def flat_values(layout: LoraLayout, pairs: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
    """The inverse of `factors`; raises KeyError or RuntimeError where shapes don't match."""
    values = torch.zeros(layout.size, dtype=torch.float32)
    for name in layout.modules:
        a, b = pairs[name]
        layout.segments[name, "A"].view(values).copy_(a)
        layout.segments[name, "B"].view(values).copy_(b.t())
    return values


def check_finite_losses(losses: Sequence[float]) -> None:
    """Raises NonFiniteError naming the first datum whose loss isn't finite."""
    for index, loss in enumerate(losses):
        if not np.isfinite(loss):
            raise NonFiniteError(
                f"the loss of datum {index} is not finite ({loss}); nothing was added"
            )
