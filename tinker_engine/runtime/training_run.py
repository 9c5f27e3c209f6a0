"""One LoRA run: its parameters, gradient accumulator, optimizer and, if private, its mechanism.

A run that has a mechanism has no other way to change its parameters than `step`, which goes
through it. Losses and logprobs of a private run are not private: they are for its owner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from tinker_engine.errors import CheckpointError, NonFiniteError, RequestError
from tinker_engine.models.adapter_files import AdapterFiles
from tinker_engine.models.digests import tensor_bytes
from tinker_engine.numerics.adamw import AdamState, adamw_step, clip_gradient, stays_finite
from tinker_engine.numerics.lora import LoraLayout
from tinker_engine.privacy import PrivateMechanism
from tinker_engine.runtime.records import STARTED_FROM, AdamParams, RunSpec, StepResult


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
    `targets` are the suffixes as they apply to the base. `paid` counts the ledger's events that the
    present values are past: one more is a step that was released and then lost with its process.
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
    paid: int = 0
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

        Raises NonFiniteError without adding anything when it, or the sum, isn't finite.
        """
        if self.gradients:
            gradient += self.accumulator
        if not bool(torch.isfinite(gradient).all()):
            raise NonFiniteError(
                "the gradient is not finite; lower the learning rate or look for extreme weights"
            )
        self.accumulator = gradient
        self.gradients += 1

    def state_digest(self) -> str:
        """SHA-256 of weights, moments and step: what a private update is drawn for."""
        digest = hashlib.sha256(f"tinker-engine run state v1|{self.adam.step}\n".encode())
        for tensor in (self.values, self.adam.first, self.adam.second):
            digest.update(tensor_bytes(tensor))
        return digest.hexdigest()

    def step(self, params: AdamParams, *, is_repeated: bool = False) -> StepResult:
        """Apply one AdamW update and clear the accumulator; see Backend.optim_step.

        Raises NonFiniteError when the update would leave a value that isn't finite; the run stays
        as it is then.
        """
        state_digest = self.state_digest() if self.mechanism else ""
        gradient, metrics = (
            self._private_gradient(self.mechanism, state_digest, is_repeated)
            if self.mechanism
            else self._plain_gradient()
        )
        is_safe = stays_finite(gradient, params)
        values, adam = self.values[: self.layout.trainable], self.adam
        if not is_safe:
            # Tried on copies: what overflows can't be taken back.
            gradient, values = gradient.clone(), values.clone()
            adam = AdamState(adam.first.clone(), adam.second.clone(), adam.step)
        metrics["optim:gradient_norm"] = clip_gradient(gradient, params.grad_clip_norm)
        try_step(values, gradient, adam, params, check=not is_safe)
        if not is_safe:
            self.values[: self.layout.trainable] = values
            self.adam = adam
        self.version += 1
        if self.mechanism is not None:
            mine = self.mechanism.place(state_digest) if is_repeated else self.mechanism.steps
            self.paid = max(self.paid, mine)
        self.clear_gradients()
        return StepResult(step=self.adam.step, metrics=metrics)

    def _plain_gradient(self) -> tuple[Tensor, dict[str, float]]:
        if self.gradients == 0:
            raise RequestError("optim_step without forward_backward: there is no gradient to apply")
        return self.accumulator, {}

    def _private_gradient(
        self, mechanism: PrivateMechanism, state_digest: str, is_repeated: bool
    ) -> tuple[Tensor, dict[str, float]]:
        # An update that somebody may have seen is the only one for its step.
        update = (
            mechanism.released(state_digest)
            if is_repeated or self.paid < mechanism.steps
            else mechanism.release(state_digest, self.accumulator.numpy())
        )
        metrics = {
            "privacy:epsilon": mechanism.epsilon(),
            "privacy:steps": float(mechanism.steps),
            "privacy:noise_multiplier": mechanism.policy.noise_multiplier,
            **self.statistics.metrics(),
        }
        return torch.from_numpy(np.ascontiguousarray(update)), metrics


def try_step(
    values: Tensor, gradient: Tensor, adam: AdamState, params: AdamParams, *, check: bool
) -> None:
    """One AdamW update in place; with `check`, raises NonFiniteError if anything overflowed."""
    try:
        adamw_step(values, gradient, adam, params)
        is_finite = not check or all(
            bool(torch.isfinite(tensor).all()) for tensor in (values, adam.first, adam.second)
        )
    # torch refuses a factor beyond fp32 by a RuntimeError.
    except (ArithmeticError, RuntimeError):
        if not check:
            raise
        is_finite = False
    if not is_finite:
        raise NonFiniteError(
            "the update is not finite; the step was not applied, and its gradients are kept: "
            "lower learning_rate or weight_decay, set grad_clip_norm, or raise eps"
        )


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


def start_from(run: TrainingRun, adapter: AdapterFiles) -> None:
    """Give a new run an adapter's values, and its spec the adapter's digest.

    Raises CheckpointError when rank, alpha, targets or shapes are not the run's.
    """
    spec, config = run.spec, adapter.config
    theirs = (config.rank, config.alpha, sorted(config.targets))
    if (spec.rank, spec.alpha, sorted(run.targets)) != theirs:
        raise CheckpointError(
            f"the adapter has rank, alpha and targets {theirs}, this run "
            f"{(spec.rank, spec.alpha, sorted(run.targets))}; give the run the adapter's"
        )
    try:
        run.values = flat_values(run.layout, adapter.factors)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"the adapter doesn't fit this run: {error}") from error
    run.spec = replace(spec, labels={**spec.labels, STARTED_FROM: adapter.digest})


def check_finite_losses(losses: Sequence[float]) -> None:
    """Raises NonFiniteError naming the first datum whose loss isn't finite."""
    for index, loss in enumerate(losses):
        if not np.isfinite(loss):
            raise NonFiniteError(
                f"the loss of datum {index} is not finite ({loss}); nothing was added"
            )
