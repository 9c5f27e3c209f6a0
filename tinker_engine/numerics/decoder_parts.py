"""Norm and gated MLP of a Llama-family decoder block, each with its own backward pass.

Rows are tokens of all examples laid end to end, without padding. Frozen weights get no gradient.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """X / rms(x) * weight over the last axis, computed in fp32, given back in `dtype`."""
    if not torch.is_grad_enabled():
        return _normed(x, weight, eps)[0].to(dtype)
    return cast(Tensor, _RmsNorm.apply(x, weight, eps, dtype))


def _normed(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    wide = x.float()
    inverse = torch.linalg.vecdot(wide, wide).div_(x.shape[-1]).add_(eps).rsqrt_()[..., None]
    return (wide * inverse).mul_(weight), inverse


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        result, inverse = _normed(x, weight, eps)
        ctx.save_for_backward(x, inverse, weight)
        return result.to(dtype)

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
    return _gated(gate_up, F.silu, _silu_slope)


def geglu(gate_up: Tensor) -> Tensor:
    """gelu(gate) * up, gelu by its tanh approximation, for (rows, 2 * width), the gate first."""
    return _gated(gate_up, _gelu, _gelu_slope)


def _gated(gate_up: Tensor, activation: Any, slope: Any) -> Tensor:
    if not torch.is_grad_enabled():
        gate, up = gate_up.chunk(2, dim=-1)
        return activation(gate).mul_(up)
    return cast(Tensor, _Gated.apply(gate_up, activation, slope))


def _silu_slope(grad: Tensor, gate: Tensor, into: Tensor) -> None:
    torch.ops.aten.silu_backward.grad_input(grad, gate, grad_input=into)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _gelu_slope(grad: Tensor, gate: Tensor, into: Tensor) -> None:
    torch.ops.aten.gelu_backward.grad_input(grad, gate, approximate="tanh", grad_input=into)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, activation: Any, slope: Any) -> Tensor:
        ctx.save_for_backward(gate_up)
        ctx.functions = activation, slope
        gate, up = gate_up.chunk(2, dim=-1)
        return activation(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gate_up,) = ctx.saved_tensors
        activation, slope = ctx.functions
        grad = cast(Tensor, grads[0])
        gate, up = gate_up.chunk(2, dim=-1)
        result = torch.empty_like(gate_up)
        d_gate, d_up = result.chunk(2, dim=-1)
        torch.mul(grad, activation(gate), out=d_up)
        slope(grad * up, gate, d_gate)
        return result, None, None
