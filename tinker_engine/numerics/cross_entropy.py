"""Output head and cross-entropy in chunks of rows, so that rows x vocabulary is never held.

Loss is the sum over rows of -weight * log softmax(logits)[target]. Logits are taken to fp32 before
the softmax. Gradients are formed chunk by chunk in the same pass, only for rows with a weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tinker_engine.numerics.adapted_linear import (
    AdaptedLinear,
    feed,
    forward_rows,
    input_gradient,
)
from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.packing import Group, split_rows

CHUNK_ELEMENTS = 1 << 23  # 32 MB of fp32 logits


@dataclass(frozen=True)
class OutputHead:
    """Hidden (rows, D) to logits (rows, V): a linear map, adapted or not, and a tanh soft cap."""

    linear: AdaptedLinear
    softcap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 logits (rows, V)."""
        raw = forward_rows(hidden.to(self.linear.weight.dtype), self.linear).float()
        return raw if self.softcap is None else torch.tanh(raw / self.softcap) * self.softcap

    @property
    def vocab_size(self) -> int:
        """V."""
        return int(self.linear.weight.shape[0])

    @property
    def chunk_rows(self) -> int:
        """Rows whose logits are held at a time."""
        return max(16, CHUNK_ELEMENTS // self.vocab_size)


class HeadLoss(NamedTuple):
    """`logprobs` (rows,) fp32 of the targets; `grad` (rows, D) of the loss sum, or None."""

    logprobs: Tensor
    grad: Tensor | None


@torch.no_grad()
def head_loss(
    head: OutputHead,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    needs_grad: bool,
    sink: GradientSink | None = None,
    groups: Sequence[Group] = (),
) -> HeadLoss:
    """Log-probabilities of targets (rows,), and the gradient at hidden (rows, D).

    When the head itself is adapted, its own LoRA gradients go to `sink`, example by example as
    `groups` lays them out.
    """
    rows = hidden.shape[0]
    logprobs = torch.empty(rows, dtype=torch.float32)
    grad = torch.zeros_like(hidden) if needs_grad else None
    for start in range(0, rows, head.chunk_rows):
        stop = min(start + head.chunk_rows, rows)
        piece = hidden[start:stop]
        chosen = targets[start:stop, None]
        logits = head.logits(piece)  # (n, V)
        log_z = torch.logsumexp(logits, dim=-1, keepdim=True)
        logprobs[start:stop] = (logits.gather(1, chosen) - log_z)[:, 0]
        if grad is None:
            continue
        weight = weights[start:stop]
        if sink is not None and head.linear.parts:
            upstream = _logit_gradient(head, logits, log_z, chosen, weight)
            inputs = piece.to(upstream.dtype)
            feed(sink, head.linear, inputs, upstream, split_rows(groups, start, stop))
            grad[start:stop] = input_gradient(upstream, head.linear)
            continue
        trained = weight.nonzero()[:, 0]
        if len(trained):
            upstream = _logit_gradient(
                head, logits[trained], log_z[trained], chosen[trained], weight[trained]
            )
            grad[start + trained] = input_gradient(upstream, head.linear).to(grad.dtype)
    return HeadLoss(logprobs, grad)


def _logit_gradient(
    head: OutputHead, logits: Tensor, log_z: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """d(loss sum)/d(raw logits): weight * (softmax - onehot), through the soft cap; overwrites.

    Rows of weight 0 give exact zeros.
    """
    slope = None if head.softcap is None else 1.0 - (logits / head.softcap).square()
    upstream = logits.sub_(log_z).exp_()
    upstream.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=upstream.dtype))
    upstream.mul_(weights[:, None])
    if slope is not None:
        upstream.mul_(slope)
    return upstream.to(head.linear.weight.dtype)
