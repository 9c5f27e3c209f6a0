"""Running a request's examples through the network: losses, logprobs and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinker_engine.errors import RequestError
from tinker_engine.numerics.cross_entropy import HeadLoss, OutputHead, head_loss
from tinker_engine.numerics.gradients import ClippedGradients, GradientSink, SummedGradients
from tinker_engine.numerics.network import Network
from tinker_engine.numerics.packing import Limits, Microbatch
from tinker_engine.runtime.records import FloatArray, LossOutput, TrainDatum
from tinker_engine.runtime.training_run import TrainingRun, check_finite_losses

KEPT_GRADIENT_BYTES = 192 << 20


@dataclass(frozen=True)
class AdaptedModel:
    """A network with one adapter on it, and the output head that goes with it."""

    network: Network
    adapted: Any
    head: OutputHead
    dtype: torch.dtype

    def hidden(self, tokens: Tensor, batch: Microbatch, sink: GradientSink | None) -> Tensor:
        """Hidden states (rows, D) of a microbatch."""
        return self.network.hidden(self.adapted, tokens, batch, sink)


def check_data(data: Sequence[TrainDatum], vocab_size: int, max_context: int) -> None:
    """Raises RequestError naming the first datum that can't be trained on."""
    for index, datum in enumerate(data):
        length = len(datum.tokens)
        if length == 0 or len(datum.targets) != length or len(datum.weights) != length:
            raise RequestError(
                f"datum {index}: tokens, targets and weights must have one length above 0, not "
                f"{length}, {len(datum.targets)} and {len(datum.weights)}"
            )
        if length > max_context:
            raise RequestError(
                f"datum {index}: {length} tokens exceed the base model's context of {max_context}"
            )
        for name, ids in (("tokens", datum.tokens), ("targets", datum.targets)):
            if int(ids.min()) < 0 or int(ids.max()) >= vocab_size:
                raise RequestError(f"datum {index}: {name} must lie in 0 .. {vocab_size - 1}")
        if not np.isfinite(datum.weights).all():
            raise RequestError(f"datum {index}: weights must be finite")


def evaluate(model: AdaptedModel, data: Sequence[TrainDatum], rows: int) -> LossOutput:
    """Losses and logprobs without gradients."""
    outputs = _Outputs(data)
    with torch.inference_mode():
        for batch in model.network.plan([len(d.tokens) for d in data], Limits(rows, 1024)):
            tokens, targets, weights = _rows(data, batch)
            hidden = model.hidden(tokens, batch, None)
            loss = head_loss(model.head, hidden, targets, weights, needs_grad=False)
            outputs.take(batch, loss.logprobs)
    return outputs.result()


def accumulate(
    model: AdaptedModel, run: TrainingRun, data: Sequence[TrainDatum], rows: int
) -> LossOutput:
    """Losses and logprobs, with the gradient of the loss sum added to the run's accumulator.

    In a private run each datum's gradient is clipped first. A request whose loss or gradient isn't
    finite raises NonFiniteError and adds nothing.
    """
    outputs = _Outputs(data)
    gradient = torch.zeros_like(run.accumulator)
    clipping = run.mechanism is not None
    clip_norm = run.mechanism.policy.clip_norm if run.mechanism is not None else 0.0
    norms: list[Tensor] = []
    kept = ClippedGradients(run.layout, gradient, clip_norm)
    sink: GradientSink = kept if clipping else SummedGradients(run.layout, gradient)
    limits = _limits(run, rows, model.dtype)
    for batch in model.network.plan([len(d.tokens) for d in data], limits):
        kept.begin(batch.groups)
        outputs.take(batch, backward(model, sink, data, batch).logprobs)
        if clipping:
            norms.append(kept.finish())
    result = outputs.result()
    run.add_gradient(gradient)
    for batch_norms in norms:
        run.statistics.add(batch_norms, clip_norm)
    return result


def backward(
    model: AdaptedModel, sink: GradientSink, data: Sequence[TrainDatum], batch: Microbatch
) -> HeadLoss:
    """One microbatch forward and back: logprobs of its rows, and all that the sink is fed."""
    tokens, targets, weights = _rows(data, batch)
    hidden = model.hidden(tokens, batch, sink)
    loss = head_loss(
        model.head,
        hidden.detach(),
        targets,
        weights,
        needs_grad=True,
        sink=sink,
        groups=batch.groups,
    )
    # With the head as the only target, nothing below it wants a gradient.
    if hidden.requires_grad:
        hidden.backward(loss.grad)
    return loss


def _limits(run: TrainingRun, rows: int, dtype: torch.dtype) -> Limits:
    if run.mechanism is None:
        return Limits(rows, 1024)
    per_example = run.layout.trainable * dtype.itemsize
    return Limits(rows, max(1, KEPT_GRADIENT_BYTES // per_example))


def _rows(data: Sequence[TrainDatum], batch: Microbatch) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, targets and weights (rows,); padding has token 0, target 0 and weight 0."""
    tokens = np.zeros(batch.rows, dtype=np.int64)
    targets = np.zeros(batch.rows, dtype=np.int64)
    weights = np.zeros(batch.rows, dtype=np.float32)
    for index, offset in zip(batch.indices, batch.offsets, strict=True):
        datum = data[index]
        rows = slice(offset, offset + len(datum.tokens))
        tokens[rows], targets[rows], weights[rows] = datum.tokens, datum.targets, datum.weights
    return torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(weights)


class _Outputs:
    """Collects logprobs per datum, in the order of the request."""

    def __init__(self, data: Sequence[TrainDatum]) -> None:
        self._data = data
        self._logprobs: list[FloatArray] = [np.zeros(0, dtype=np.float32) for _ in data]

    def take(self, batch: Microbatch, logprobs: Tensor) -> None:
        values = logprobs.numpy()
        for index, offset in zip(batch.indices, batch.offsets, strict=True):
            self._logprobs[index] = values[offset : offset + len(self._data[index].tokens)].copy()

    def result(self) -> LossOutput:
        # An overflow is answered below, with the number of its datum.
        with np.errstate(over="ignore", invalid="ignore"):
            elementwise = [
                -datum.weights * logprobs
                for datum, logprobs in zip(self._data, self._logprobs, strict=True)
            ]
        losses = [float(loss.sum(dtype=np.float64)) for loss in elementwise]
        check_finite_losses(losses)
        total = float(sum(losses))
        return LossOutput(self._logprobs, elementwise, total, {"loss:sum": total})
