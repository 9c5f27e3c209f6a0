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
    MixedLinear,
    feed,
    forward_rows,
    input_gradient,
)
from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.packing import Group, split_rows

# 4 MB of fp32 logits: the softmax then works in the cache, which is 1.5 to 2.5 times faster than
# on all rows of a microbatch (vocabulary 4,096).
CHUNK_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class OutputHead:
    """Hidden (rows, D) to logits (rows, V): a linear map, adapted or not, and a tanh soft cap."""

    linear: AdaptedLinear
    softcap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 logits (rows, V)."""
        return self.capped(forward_rows(hidden.to(self.linear.weight.dtype), self.linear))

    def capped(self, raw: Tensor) -> Tensor:
        """fp32 logits from the linear map's output."""
        wide = raw.float()
        return wide if self.softcap is None else torch.tanh(wide / self.softcap) * self.softcap

    @property
    def vocab_size(self) -> int:
        """V."""
        return int(self.linear.weight.shape[0])

    @property
    def chunk_rows(self) -> int:
        """Rows whose logits are held at a time."""
        return max(32, CHUNK_ELEMENTS // self.vocab_size)


def mixed_logits(heads: Sequence[tuple[OutputHead, int]], hidden: Tensor) -> Tensor:
    """fp32 logits (rows, V) where so many rows each belong to one head after the other."""
    first = heads[0][0]
    if len(heads) == 1:
        return first.logits(hidden)
    linear = MixedLinear.of([count for _, count in heads], [head.linear for head, _ in heads])
    return first.capped(forward_rows(hidden.to(linear.weight.dtype), linear))


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
        logprobs_V = torch.log_softmax(head.logits(piece), dim=-1)  # (n, V)
        logprobs[start:stop] = logprobs_V.gather(1, chosen)[:, 0]
        if grad is None:
            continue
        weight = weights[start:stop]
        if sink is not None and head.linear.parts:
            upstream = _logit_gradient(head, piece, logprobs_V, chosen, weight)
            inputs = piece.to(upstream.dtype)
            feed(sink, head.linear, inputs, upstream, split_rows(groups, start, stop))
            grad[start:stop] = input_gradient(upstream, head.linear)
            continue
        trained = weight.nonzero()[:, 0]
        if len(trained):
            upstream = _logit_gradient(
                head, piece[trained], logprobs_V[trained], chosen[trained], weight[trained]
            )
            grad[start + trained] = input_gradient(upstream, head.linear).to(grad.dtype)
    return HeadLoss(logprobs, grad)


def _logit_gradient(
    head: OutputHead, hidden: Tensor, logprobs_V: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """d(loss sum)/d(raw logits): weight * (softmax - onehot), through the soft cap.

    Overwrites `logprobs_V`. Rows of weight 0 give exact zeros.
    """
    upstream = logprobs_V.exp_()
    upstream.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=upstream.dtype))
    upstream.mul_(weights[:, None])
    if head.softcap is not None:
        # The capped logits again: keeping them would double what a chunk holds for every family.
        upstream.mul_(1.0 - (head.logits(hidden) / head.softcap).square_())
    return upstream.to(head.linear.weight.dtype)
