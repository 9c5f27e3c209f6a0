"""Running a request's examples through the network: losses, logprobs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tinker_engine.errors import RequestError
from tinker_engine.numerics.cross_entropy import HeadLoss, OutputHead, head_loss
from tinker_engine.numerics.gradients import ClippedGradients, GradientSink, SummedGradients
from tinker_engine.numerics.network import Network
from tinker_engine.numerics.packing import Limits, Microbatch
from tinker_engine.numerics.policy_losses import FORMULAS, TokenLoss
from tinker_engine.numerics.soft_targets import soft_target_loss
from tinker_engine.runtime.losses import LOSSES
from tinker_engine.runtime.records import FloatArray, LossName, LossOutput, TrainDatum
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
        fits = datum.targets.shape == datum.weights.shape and datum.targets.size > 0
        if length == 0 or len(datum.targets) != length or not fits:
            raise RequestError(
                f"datum {index}: tokens, targets and weights must have one length above 0, not "
                f"{length}, {list(datum.targets.shape)} and {list(datum.weights.shape)}"
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


def evaluate(
    model: AdaptedModel, data: Sequence[TrainDatum], rows: int, loss: LossName = "cross_entropy"
) -> LossOutput:
    """Losses and logprobs without gradients."""
    outputs = _Outputs(data, loss)
    with torch.inference_mode():
        for batch in model.network.plan([len(d.tokens) for d in data], Limits(rows, 1024)):
            inputs = batch_rows(data, batch)
            hidden = model.hidden(inputs.tokens, batch, None)
            outputs.take(batch, _head(model, hidden, inputs.targets, inputs.weights).logprobs)
    return outputs.result()


class Accumulation:
    """What one request adds up, microbatch by microbatch; the run sees none of it until `finish`.

    In a private run each datum's gradient is clipped before it is added.
    """

    def __init__(self, run: TrainingRun, data: Sequence[TrainDatum], loss: LossName) -> None:
        self.run, self.data = run, data
        self.loss: LossName = loss
        self._outputs = _Outputs(data, loss)
        self._gradient = torch.zeros_like(run.accumulator)
        self._norms: list[Tensor] = []
        self._clip_norm = run.mechanism.policy.clip_norm if run.mechanism is not None else 0.0
        self._kept = (
            ClippedGradients(run.layout, self._gradient, self._clip_norm)
            if run.mechanism is not None
            else None
        )
        self.sink: GradientSink = self._kept or SummedGradients(run.layout, self._gradient)

    def begin(self, batch: Microbatch) -> None:
        """Before a microbatch of this request's own rows."""
        if self._kept is not None:
            self._kept.begin(batch.groups)

    def take(self, batch: Microbatch, logprobs: Tensor) -> None:
        """After its backward pass: logprobs (rows,) or (rows, K) of its targets."""
        self._outputs.take(batch, logprobs)
        if self._kept is not None:
            self._norms.append(self._kept.finish())

    def finish(self) -> LossOutput:
        """Hand the gradient to the run.

        Raises NonFiniteError, adding nothing, when a loss or the gradient isn't finite.
        """
        result = self._outputs.result()
        self.run.add_gradient(self._gradient)
        for norms in self._norms:
            self.run.statistics.add(norms, self._clip_norm)
        return result


def accumulate(
    model_of: Callable[[], AdaptedModel],
    run: TrainingRun,
    data: Sequence[TrainDatum],
    rows: int,
    loss: LossName = "cross_entropy",
) -> Generator[None, None, LossOutput]:
    """Losses and logprobs, with the gradient of the loss sum added to the run's accumulator.

    Yields after each microbatch, so that others get their turn; `model_of` gives the adapted model
    for the next one. Raises NonFiniteError as `Accumulation.finish` does.
    """
    total = Accumulation(run, data, loss)
    limits = limits_of(run, rows, model_of().dtype)
    units = LOSSES[loss].units(len(data))
    for batch in model_of().network.plan([len(d.tokens) for d in data], limits, units=units):
        total.begin(batch)
        total.take(batch, backward(model_of(), total.sink, data, batch, loss).logprobs)
        yield
    return total.finish()


def backward(
    model: AdaptedModel,
    sink: GradientSink,
    data: Sequence[TrainDatum],
    batch: Microbatch,
    loss: LossName = "cross_entropy",
) -> HeadLoss:
    """One microbatch forward and back: logprobs of its rows, and all that the sink is fed."""
    rows = batch_rows(data, batch)
    hidden = model.hidden(rows.tokens, batch, sink)
    result = hidden_loss(model, hidden.detach(), rows, data, batch, loss, sink)
    # With the head as the only target, nothing below it wants a gradient.
    if hidden.requires_grad:
        hidden.backward(result.grad)
    return result


def hidden_loss(
    model: AdaptedModel,
    hidden: Tensor,
    rows: BatchRows,
    data: Sequence[TrainDatum],
    batch: Microbatch,
    loss: LossName,
    sink: GradientSink,
) -> HeadLoss:
    """Logprobs at hidden states (rows, D), and the gradient of the loss sum there."""
    weights = rows.weights
    if loss != "cross_entropy":
        # The gradient of a policy loss depends on the logprobs (of the whole example, for gspo).
        logprobs = _head(model, hidden, rows.targets, weights).logprobs
        weights = _policy_weights(data, batch, logprobs, loss)
    return _head(model, hidden, rows.targets, weights, batch=batch, sink=sink)


def _head(
    model: AdaptedModel,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    batch: Microbatch | None = None,
    sink: GradientSink | None = None,
) -> HeadLoss:
    """Logprobs of the targets; with a batch, the gradient as well."""
    compute = head_loss if targets.dim() == 1 else soft_target_loss
    groups = () if batch is None else batch.groups
    needs_grad = batch is not None
    return compute(
        model.head, hidden, targets, weights, needs_grad=needs_grad, sink=sink, groups=groups
    )


def _policy_weights(
    data: Sequence[TrainDatum], batch: Microbatch, logprobs: Tensor, loss: LossName
) -> Tensor:
    """-d(loss sum)/d(logprob) of each row (rows,); 0 for padding."""
    values = logprobs.numpy()
    weights = np.zeros(batch.rows, dtype=np.float32)
    rows = {
        index: slice(offset, offset + len(data[index].tokens))
        for index, offset in zip(batch.indices, batch.offsets, strict=True)
    }
    together = LOSSES[loss].together
    for first in sorted(index for index in rows if index % together == 0):
        example = range(first, first + together)
        found = _policy_losses([data[i] for i in example], [values[rows[i]] for i in example], loss)
        for index, part in zip(example, found, strict=True):
            weights[rows[index]] = part.weight
    return torch.from_numpy(weights)


def _policy_losses(
    example: Sequence[TrainDatum], logprobs: Sequence[FloatArray], loss: LossName
) -> list[TokenLoss]:
    """Loss and weight of each datum of one example, from the logprobs of each."""
    inputs = {
        name: np.concatenate([datum.inputs[name] for datum in example]).astype(np.float64)
        for name in example[0].inputs
    }
    # An overflow is answered after the pass, with the number of its datum.
    with np.errstate(over="ignore", invalid="ignore"):
        whole = FORMULAS[loss](np.concatenate(logprobs).astype(np.float64), inputs)
    cuts = np.cumsum([len(datum.tokens) for datum in example])[:-1]
    pieces = zip(np.split(whole.loss, cuts), np.split(whole.weight, cuts), strict=True)
    return [TokenLoss(*piece) for piece in pieces]


def limits_of(run: TrainingRun, rows: int, dtype: torch.dtype) -> Limits:
    """Largest microbatch of a run; a private one keeps a gradient per example."""
    if run.mechanism is None:
        return Limits(rows, 1024)
    per_example = run.layout.trainable * dtype.itemsize
    return Limits(rows, max(1, KEPT_GRADIENT_BYTES // per_example))


class BatchRows(NamedTuple):
    """Token ids (rows,), targets and weights; padding has token 0, target 0 and weight 0.

    Targets and weights are (rows,), or (rows, K) for the largest K as soon as one datum has many.
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor


def batch_rows(data: Sequence[TrainDatum], batch: Microbatch) -> BatchRows:
    """The inputs of a microbatch."""
    width = max(
        (data[i].targets.shape[1] for i in batch.indices if data[i].targets.ndim > 1), default=0
    )
    shape = (batch.rows, width) if width else (batch.rows,)
    tokens = np.zeros(batch.rows, dtype=np.int64)
    targets = np.zeros(shape, dtype=np.int64)
    weights = np.zeros(shape, dtype=np.float32)
    for index, offset in zip(batch.indices, batch.offsets, strict=True):
        datum = data[index]
        rows = slice(offset, offset + len(datum.tokens))
        place = (rows, *_columns(datum)) if width else rows
        tokens[rows], targets[place], weights[place] = datum.tokens, datum.targets, datum.weights
    return BatchRows(*(torch.from_numpy(rows) for rows in (tokens, targets, weights)))


def _columns(datum: TrainDatum) -> tuple[slice | int]:
    """Where a datum's targets are in rows that hold several."""
    return (0,) if datum.targets.ndim == 1 else (slice(0, datum.targets.shape[1]),)


class _Outputs:
    """Collects logprobs per datum, in the order of the request."""

    def __init__(self, data: Sequence[TrainDatum], loss: LossName) -> None:
        self._data = data
        self._loss: LossName = loss
        self._logprobs: list[FloatArray] = [np.zeros(0, dtype=np.float32) for _ in data]

    def take(self, batch: Microbatch, logprobs: Tensor) -> None:
        values = logprobs.numpy()
        for index, offset in zip(batch.indices, batch.offsets, strict=True):
            datum = self._data[index]
            part = values[offset : offset + len(datum.tokens)]
            self._logprobs[index] = (part if part.ndim == 1 else part[:, *_columns(datum)]).copy()

    def result(self) -> LossOutput:
        elementwise = self._elementwise()
        losses = [float(loss.sum(dtype=np.float64)) for loss in elementwise]
        check_finite_losses(losses)
        total = float(sum(losses))
        return LossOutput(self._logprobs, elementwise, total, {"loss:sum": total})

    def _elementwise(self) -> list[FloatArray]:
        if self._loss == "cross_entropy":
            # An overflow is answered by the caller, with the number of its datum.
            with np.errstate(over="ignore", invalid="ignore"):
                return [
                    -datum.weights * logprobs
                    for datum, logprobs in zip(self._data, self._logprobs, strict=True)
                ]
        losses: list[FloatArray] = []
        together = LOSSES[self._loss].together
        for first in range(0, len(self._data), together):
            example = slice(first, first + together)
            found = _policy_losses(self._data[example], self._logprobs[example], self._loss)
            with np.errstate(over="ignore", invalid="ignore"):
                losses += [part.loss.astype(np.float32) for part in found]
        return losses
