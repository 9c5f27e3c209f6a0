"""Causal self-attention with rotary positions on flat rows, with a backward pass of its own.

Rows are tokens of all examples laid end to end; attention stays inside an example. Examples of one
group have equal length, so nothing is padded. Query heads that share a key/value head are taken
together. Scores may be squashed and kept to a window of past positions.
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


class ScoreRule(NamedTuple):
    """How scores are made of q and k: q k^T * scale, then softcap * tanh(x / softcap).

    With a `window`, a position sees itself and the `window - 1` before it; else all before it.
    """

    scale: float
    softcap: float | None = None
    window: int | None = None


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
    qkv: Tensor,
    rotation: Rotation,
    groups: Sequence[Group],
    shape: HeadShape,
    rule: ScoreRule | None = None,
) -> Tensor:
    """Heads' outputs (rows, H * d) for q, k and v side by side, (rows, (H + 2 KV) * d).

    Without a rule scores are q k^T / sqrt(d), over all positions before.
    """
    rule = rule or ScoreRule(shape.width**-0.5)
    return cast(Tensor, _SelfAttention.apply(qkv, rotation, groups, shape, rule))


class _SelfAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        rotation: Rotation,
        groups: Sequence[Group],
        shape: HeadShape,
        rule: ScoreRule,
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
            attend = _way(group, rule)[0]
            output, kept = attend(query, key, value, group, rule, is_training=is_training)
            into_rows(output, y[rows], group, shape)
            saved.append(kept)
        if is_training:
            ctx.saved = (saved, rotation, groups, shape, rule)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        saved, rotation, groups, shape, rule = ctx.saved
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
            undo = _way(group, rule)[1]
            for part, place in zip(undo(upstream, *kept), places, strict=True):
                into_rows(part, place[rows], group, shape)
        # The inverse of a rotation is the rotation by the opposite angle.
        turned = result[:, : rotation.cos.shape[1]]
        turned.copy_(rotate(turned, Rotation(rotation.cos, -rotation.sin), width))
        return result, None, None, None, None


def _way(group: Group, rule: ScoreRule) -> tuple[Any, Any]:
    """How examples of this length are computed, forth and back."""
    if group.length <= DENSE_LENGTH:
        return _dense, _dense_backward
    if rule.softcap is None and (rule.window is None or rule.window >= group.length):
        return _blocked, _blocked_backward
    return _banded, _banded_backward


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


def _weights(q: Tensor, k: Tensor, positions: int, offset: int, rule: ScoreRule) -> Tensor:
    """Attention weights (m, rep * t, S) of t query positions, the first `offset` after key 0."""
    scores = torch.bmm(q, k.transpose(1, 2)).mul_(rule.scale)
    if rule.softcap is not None:
        scores.div_(rule.softcap).tanh_().mul_(rule.softcap)
    keys = k.shape[1]
    # Adding minus infinity is ten times faster than masked_fill_.
    hidden = torch.full((positions, keys), -torch.inf, dtype=q.dtype)
    mask = hidden.triu(offset + 1)
    if rule.window is not None and positions + offset > rule.window:
        mask += hidden.tril_(offset - rule.window)
    scores.view(len(scores), -1, positions, keys).add_(mask)
    return torch.softmax(scores, dim=-1)


def _dense(
    q: Tensor, k: Tensor, v: Tensor, group: Group, rule: ScoreRule, *, is_training: bool
) -> tuple[Tensor, Any]:
    """softmax(scores) v with whole score matrices."""
    del is_training
    weights = _weights(q, k, group.length, 0, rule)  # (n * KV, rep * T, T)
    return torch.bmm(weights, v), (q, k, v, weights, rule)


def _dense_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Tensor, rule: ScoreRule
) -> tuple[Tensor, Tensor, Tensor]:
    d_weights = torch.bmm(grad, v.transpose(1, 2))
    d_scores = torch.ops.aten._softmax_backward_data(d_weights, weights, -1, weights.dtype)
    if rule.softcap is not None:
        squashed = torch.bmm(q, k.transpose(1, 2)).mul_(rule.scale / rule.softcap).tanh_()
        d_scores.mul_(squashed.square_().neg_().add_(1.0))
    d_scores.mul_(rule.scale)
    d_v = torch.bmm(weights.transpose(1, 2), grad)
    return torch.bmm(d_scores, k), torch.bmm(d_scores.transpose(1, 2), q), d_v


def _bands(group: Group, rule: ScoreRule) -> list[tuple[slice, slice]]:
    """Blocks of query positions with the key positions that some of them see."""
    bands: list[tuple[slice, slice]] = []
    for start in range(0, group.length, DENSE_LENGTH):
        stop = min(start + DENSE_LENGTH, group.length)
        first = 0 if rule.window is None else max(0, start - rule.window + 1)
        bands.append((slice(start, stop), slice(first, stop)))
    return bands


def _band_of(x: Tensor, length: int, rows: slice) -> Tensor:
    """Positions `rows` of every head in (m, rep * T, d), as (m, rep * t, d)."""
    return x.unflatten(1, (-1, length))[:, :, rows].flatten(1, 2)


def _banded(
    q: Tensor, k: Tensor, v: Tensor, group: Group, rule: ScoreRule, *, is_training: bool
) -> tuple[Tensor, Any]:
    """Block of queries by block of queries; weights are computed again on the way back."""
    del is_training
    output = torch.empty_like(q)
    for rows, keys in _bands(group, rule):
        query = _band_of(q, group.length, rows)
        size = rows.stop - rows.start
        weights = _weights(query, k[:, keys], size, rows.start - keys.start, rule)
        part = torch.bmm(weights, v[:, keys]).unflatten(1, (-1, size))
        output.unflatten(1, (-1, group.length))[:, :, rows] = part
    return output, (q, k, v, group, rule)


def _banded_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, group: Group, rule: ScoreRule
) -> tuple[Tensor, Tensor, Tensor]:
    d_q, d_k, d_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for rows, keys in _bands(group, rule):
        query, upstream = (_band_of(x, group.length, rows) for x in (q, grad))
        size = rows.stop - rows.start
        key, value = k[:, keys], v[:, keys]
        weights = _weights(query, key, size, rows.start - keys.start, rule)
        back = _dense_backward(upstream, query, key, value, weights, rule)
        d_q.unflatten(1, (-1, group.length))[:, :, rows] = back[0].unflatten(1, (-1, size))
        d_k[:, keys] += back[1]
        d_v[:, keys] += back[2]
    return d_q, d_k, d_v


def _blocked(
    q: Tensor, k: Tensor, v: Tensor, group: Group, rule: ScoreRule, *, is_training: bool
) -> tuple[Tensor, Any]:
    """Torch's own attention, in fp32: its bf16 backward is several times slower on CPUs."""
    width = q.shape[-1]
    parts = [
        part.view(group.count, -1, group.length, width).float().requires_grad_(is_training)
        for part in (q, k, v)
    ]
    with torch.set_grad_enabled(is_training):
        output = F.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], is_causal=True, enable_gqa=True, scale=rule.scale
        )
    result = output.detach().to(q.dtype).reshape(q.shape)
    return result, (output, parts)


def _blocked_backward(grad: Tensor, output: Tensor, parts: list[Tensor]) -> list[Tensor]:
    upstream = grad.float().view_as(output)
    found = torch.autograd.grad(output, parts, upstream)
    return [part.to(grad.dtype) for part in found]
