"""Causal self-attention with rotary positions on flat rows, with a backward pass of its own.

Rows are tokens of all examples laid end to end; attention stays inside an example. Examples of one
group have equal length, so nothing is padded. Query heads that share a key/value head are taken
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tinker_engine.numerics.packing import Group

# Above this length the scores of a block of queries no longer fit the cache, and torch's own
# blocked attention is faster than products over whole score matrices.
DENSE_LENGTH = 512


class HeadShape(NamedTuple):
    """Query heads, key/value heads and the width of one head."""

    heads: int
    kv_heads: int
    width: int


class Rotation(NamedTuple):
    """Rotary factors of each row for all rotated heads side by side, (rows, (H + KV) * d) each.

    `sin` carries the sign of the half it is for: minus in the lower half of a head.
    """

    cos: Tensor
    sin: Tensor


def rotate(x: Tensor, rotation: Rotation, width: int) -> Tensor:
    """Rotary embedding (arXiv 2104.09864, half-split form) of x (rows, heads * d)."""
    # The halves of each head exchanged: one copy, so that the products run over whole rows.
    swapped = x.unflatten(1, (-1, 2, width // 2)).flip(2).view_as(x)
    return torch.mul(x, rotation.cos).addcmul_(swapped, rotation.sin)


def self_attention(
    qkv: Tensor, rotation: Rotation, groups: Sequence[Group], shape: HeadShape
) -> Tensor:
    """Heads' outputs (rows, H * d) for q, k and v side by side, (rows, (H + 2 KV) * d)."""
    return cast(Tensor, _SelfAttention.apply(qkv, rotation, groups, shape))


class _SelfAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, rotation: Rotation, groups: Sequence[Group], shape: HeadShape
    ) -> Tensor:
        heads, _, width = shape
        rotated = rotate(qkv[:, : rotation.cos.shape[1]], rotation, width)
        q, k = rotated[:, : heads * width], rotated[:, heads * width :]
        v = qkv[:, rotation.cos.shape[1] :]
        y = qkv.new_empty(qkv.shape[0], heads * width)
        is_training = ctx.needs_input_grad[0]
        saved: list[Any] = []
        for group in groups:
            rows = slice(group.start, group.stop)
            query, key, value = (by_kv_head(part[rows], group, shape) for part in (q, k, v))
            attend = _dense if group.length <= DENSE_LENGTH else _blocked
            output, kept = attend(query, key, value, group, shape, is_training=is_training)
            into_rows(output, y[rows], group, shape)
            saved.append(kept)
        if is_training:
            ctx.saved = (saved, rotation, groups, shape)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        saved, rotation, groups, shape = ctx.saved
        # Else all layers' weights would live until the last layer is done.
        del ctx.saved
        heads, kv_heads, width = shape
        grad = cast(Tensor, grads[0])
        split = heads * width, kv_heads * width, kv_heads * width
        result = grad.new_empty(grad.shape[0], sum(split))
        places = result.split(split, dim=1)
        for group, kept in zip(groups, saved, strict=True):
            rows = slice(group.start, group.stop)
            upstream = by_kv_head(grad[rows], group, shape)
            undo = _dense_backward if group.length <= DENSE_LENGTH else _blocked_backward
            for part, place in zip(undo(upstream, *kept), places, strict=True):
                into_rows(part, place[rows], group, shape)
        # The inverse of a rotation is the rotation by the opposite angle.
        turned = result[:, : rotation.cos.shape[1]]
        turned.copy_(rotate(turned, Rotation(rotation.cos, -rotation.sin), width))
        return result, None, None, None


def by_kv_head(x: Tensor, group: Group, shape: HeadShape) -> Tensor:
    """Rows (n * T, heads * d) -> (n * KV, rep * T, d), rep heads to each kv head."""
    size = (group.count, group.length, shape.kv_heads, -1, shape.width)
    split = x.reshape(size).permute(0, 2, 3, 1, 4)
    return split.reshape(group.count * shape.kv_heads, -1, shape.width)


def into_rows(x: Tensor, rows: Tensor, group: Group, shape: HeadShape) -> None:
    """Write (n * KV, rep * T, d) into rows (n * T, heads * d)."""
    split = x.view(group.count, shape.kv_heads, -1, group.length, shape.width)
    target = rows.unflatten(0, (group.count, group.length))
    target.unflatten(2, (shape.kv_heads, -1, shape.width)).copy_(split.permute(0, 3, 1, 2, 4))


def _dense(
    q: Tensor, k: Tensor, v: Tensor, group: Group, shape: HeadShape, *, is_training: bool
) -> tuple[Tensor, Any]:
    """softmax(q k^T / sqrt(d)) v with whole score matrices."""
    del is_training
    T = group.length
    scale = shape.width**-0.5
    scores = torch.bmm(q, k.transpose(1, 2)).mul_(scale)  # (n * KV, rep * T, T)
    # Adding minus infinity is ten times faster than masked_fill_.
    later = torch.full((T, T), -torch.inf, dtype=q.dtype).triu_(1)
    scores.view(len(scores), -1, T, T).add_(later)
    weights = torch.softmax(scores, dim=-1)
    return torch.bmm(weights, v), (q, k, v, weights, scale)


def _dense_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    d_weights = torch.bmm(grad, v.transpose(1, 2))
    d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype)
    d_scores.mul_(scale)
    d_v = torch.bmm(weights.transpose(1, 2), grad)
    return torch.bmm(d_scores, k), torch.bmm(d_scores.transpose(1, 2), q), d_v


def _blocked(
    q: Tensor, k: Tensor, v: Tensor, group: Group, shape: HeadShape, *, is_training: bool
) -> tuple[Tensor, Any]:
    """Torch's own attention, in fp32: its bf16 backward is several times slower on CPUs."""
    parts = [
        part.view(group.count, -1, group.length, shape.width).float().requires_grad_(is_training)
        for part in (q, k, v)
    ]
    with torch.set_grad_enabled(is_training):
        output = F.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], is_causal=True, enable_gqa=True
        )
    result = output.detach().to(q.dtype).reshape(q.shape)
    return result, (output, parts)


def _blocked_backward(grad: Tensor, output: Tensor, parts: list[Tensor]) -> list[Tensor]:
    upstream = grad.float().view_as(output)
    found = torch.autograd.grad(output, parts, upstream)
    return [part.to(grad.dtype) for part in found]
