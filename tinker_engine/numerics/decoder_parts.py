"""The parts of a Llama-family decoder block on flat rows, each with its own backward pass.

Rows are tokens of all examples laid end to end, without padding. Frozen weights get no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tinker_engine.numerics.packing import Group

# Above this length the scores of a block of queries no longer fit the cache, and torch's own
# blocked attention, in fp32, is faster than products over whole score matrices.
DENSE_ATTENTION_LENGTH = 512


class HeadShape(NamedTuple):
    """Query heads, key/value heads and the width of one head."""

    heads: int
    kv_heads: int
    width: int


def rms_norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """X / rms(x) * weight over the last axis, computed in fp32, given back in `dtype`."""
    return cast(Tensor, _RmsNorm.apply(x, weight, eps, dtype))


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        wide = x.float()
        inverse = torch.linalg.vecdot(wide, wide).div_(x.shape[-1]).add_(eps).rsqrt_()[..., None]
        ctx.save_for_backward(x, inverse, weight)
        return (wide * inverse).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, inverse, weight = ctx.saved_tensors
        scaled = cast(Tensor, grads[0]).float() * weight  # d loss / d (x * inverse)
        wide = x.float()
        along = torch.linalg.vecdot(scaled, wide)[..., None]
        along.mul_(inverse.pow(3)).div_(x.shape[-1])
        dx = scaled.mul_(inverse).addcmul_(wide, along, value=-1.0)
        return dx.to(x.dtype), None, None, None


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up for (rows, 2 * width) with the gate first."""
    return cast(Tensor, _SwiGlu.apply(gate_up))


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gate_up,) = ctx.saved_tensors
        grad = cast(Tensor, grads[0])
        gate, up = gate_up.chunk(2, dim=-1)
        result = torch.empty_like(gate_up)
        d_gate, d_up = result.chunk(2, dim=-1)
        torch.mul(grad, F.silu(gate), out=d_up)
        d_gate.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        return result


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (arXiv 2104.09864, half-split): x (rows, heads, d), cos/sin (rows, d/2)."""
    return cast(Tensor, _Rotate.apply(x, cos[:, None], sin[:, None]))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    result = torch.empty_like(x, memory_format=torch.contiguous_format)
    out_low, out_high = result.chunk(2, dim=-1)
    torch.mul(low, cos, out=out_low).addcmul_(high, sin, value=-1.0)
    torch.mul(high, cos, out=out_high).addcmul_(low, sin)
    return result


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        cos, sin = ctx.saved_tensors
        return _rotated(cast(Tensor, grads[0]), cos, -sin), None, None


def group_attention(
    q: Tensor, k: Tensor, v: Tensor, groups: Sequence[Group], shape: HeadShape
) -> Tensor:
    """Causal attention in each example: q (rows, H, d), k and v (rows, KV, d) -> (rows, H * d)."""
    outputs: list[Tensor] = []
    for group in groups:
        rows = slice(group.start, group.stop)
        size = (group.count, group.length)
        parts = q[rows].unflatten(0, size), k[rows].unflatten(0, size), v[rows].unflatten(0, size)
        attend = _dense if group.length <= DENSE_ATTENTION_LENGTH else _blocked
        outputs.append(attend(*parts, shape).flatten(0, 1))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _blocked(q: Tensor, k: Tensor, v: Tensor, shape: HeadShape) -> Tensor:
    """Torch's attention; in fp32, as its bf16 backward is several times slower on CPUs."""
    del shape
    query, key, value = (part.float().transpose(1, 2) for part in (q, k, v))
    y = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    return y.transpose(1, 2).flatten(2).to(q.dtype)


def _dense(q: Tensor, k: Tensor, v: Tensor, shape: HeadShape) -> Tensor:
    return cast(Tensor, _DenseAttention.apply(q, k, v, shape))


class _DenseAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(d)) v with whole score matrices; query heads of one kv head together."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, shape: HeadShape) -> Tensor:
        size = n, T = int(q.shape[0]), int(q.shape[1])
        queries = _by_kv_head(q, shape)  # (n * KV, rep * T, d)
        keys, values = _by_kv_head(k, shape), _by_kv_head(v, shape)  # (n * KV, T, d)
        scores = torch.bmm(queries, keys.transpose(1, 2)).mul_(shape.width**-0.5)
        hidden = torch.ones(T, T, dtype=torch.bool).triu_(1)
        scores.view(n * shape.kv_heads, -1, T, T).masked_fill_(hidden, -torch.inf)
        weights = torch.softmax(scores, dim=-1)  # (n * KV, rep * T, T)
        ctx.save_for_backward(queries, keys, values, weights)
        ctx.shape = (shape, size)
        return _from_kv_head(torch.bmm(weights, values), shape, size).flatten(2)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        queries, keys, values, weights = ctx.saved_tensors
        shape, size = ctx.shape
        grad = _by_kv_head(cast(Tensor, grads[0]).unflatten(2, (-1, shape.width)), shape)
        d_values = torch.bmm(weights.transpose(1, 2), grad)
        d_scores = torch.ops.aten._softmax_backward_data(
            torch.bmm(grad, values.transpose(1, 2)), weights, -1, weights.dtype
        ).mul_(shape.width**-0.5)
        d_queries = torch.bmm(d_scores, keys)
        d_keys = torch.bmm(d_scores.transpose(1, 2), queries)
        parts = (_from_kv_head(part, shape, size) for part in (d_queries, d_keys, d_values))
        return *parts, None


def _by_kv_head(x: Tensor, shape: HeadShape) -> Tensor:
    """(n, T, heads, d) -> (n * KV, rep * T, d), rep query heads to each kv head."""
    n, T, heads, d = x.shape
    rep = heads // shape.kv_heads
    split = x.reshape(n, T, shape.kv_heads, rep, d).permute(0, 2, 3, 1, 4)
    return split.reshape(n * shape.kv_heads, rep * T, d)


def _from_kv_head(x: Tensor, shape: HeadShape, size: tuple[int, int]) -> Tensor:
    """The inverse of `_by_kv_head`: (n, T, heads, d) for size (n, T)."""
    n, T = size
    split = x.view(n, shape.kv_heads, -1, T, x.shape[2]).permute(0, 3, 1, 2, 4)
    return split.reshape(n, T, -1, x.shape[2])
