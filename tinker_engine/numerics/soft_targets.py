"""Cross-entropy with several targets per position, as soft-target distillation needs it.

Loss is the sum over rows and targets of -weight * log softmax(logits)[target]; a target may repeat
within a row. With W the sum of a row's weights, d(loss)/d(logits) is W softmax - sum of weight *
onehot. The chunks are those of `cross_entropy`, which serves one target per position.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tinker_engine.numerics.adapted_linear import feed, input_gradient
from tinker_engine.numerics.cross_entropy import HeadLoss, OutputHead
from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.packing import Group, split_rows


@torch.no_grad()
def soft_target_loss(
    head: OutputHead,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    needs_grad: bool,
    sink: GradientSink | None = None,
    groups: Sequence[Group] = (),
) -> HeadLoss:
    """Log-probabilities of targets (rows, K), and the gradient at hidden (rows, D).

    When the head itself is adapted, its own LoRA gradients go to `sink`, example by example as
    `groups` lays them out.
    """
    rows = hidden.shape[0]
    logprobs = torch.empty(targets.shape, dtype=torch.float32)
    grad = torch.zeros_like(hidden) if needs_grad else None
    for start in range(0, rows, head.chunk_rows):
        stop = min(start + head.chunk_rows, rows)
        piece, chosen = hidden[start:stop], targets[start:stop]
        logprobs_V = torch.log_softmax(head.logits(piece), dim=-1)  # (n, V)
        logprobs[start:stop] = logprobs_V.gather(1, chosen)
        if grad is None:
            continue
        upstream = _logit_gradient(head, piece, logprobs_V, chosen, weights[start:stop])
        if sink is not None and head.linear.parts:
            inputs = piece.to(upstream.dtype)
            feed(sink, head.linear, inputs, upstream, split_rows(groups, start, stop))
        grad[start:stop] = input_gradient(upstream, head.linear)
    return HeadLoss(logprobs, grad)


def _logit_gradient(
    head: OutputHead, hidden: Tensor, logprobs_V: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """d(loss sum)/d(raw logits), through the soft cap. Overwrites `logprobs_V`."""
    upstream = logprobs_V.exp_().mul_(weights.sum(dim=1, keepdim=True))
    upstream.scatter_add_(1, targets, -weights)
    if head.softcap is not None:
        upstream.mul_(1.0 - (head.logits(hidden) / head.softcap).square_())
    return upstream.to(head.linear.weight.dtype)
