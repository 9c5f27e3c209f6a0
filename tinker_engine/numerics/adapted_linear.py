"""Putting a LoRA adapter on a base model's own linear modules, without copies of the model.

A module's `forward` is replaced once. During `slot.use(...)` it applies the bound adapter and, in a
training pass, hands its input and upstream gradient to a sink; outside it is the plain module. No
parameter gets a `.grad`: frozen weights cost no gradient work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.lora import BoundLora, FrozenLinear


def frozen_linear(module: nn.Module) -> FrozenLinear:
    """Weight as (out, in), whichever way round the module stores it, and bias."""
    weight = cast(Tensor, module.weight)
    bias = cast("Tensor | None", getattr(module, "bias", None))
    return FrozenLinear(weight.t() if isinstance(module, Conv1D) else weight, bias)


class AdapterSlot:
    """Which adapter the installed modules apply at this moment, and where gradients go."""

    def __init__(self) -> None:
        self.active: Mapping[str, BoundLora] = {}
        self.sink: GradientSink | None = None
        # An input that wants a gradient makes autograd run the backward of every adapted module.
        self.anchor = torch.zeros((), requires_grad=True)
        self._installed: dict[str, nn.Module] = {}

    @contextmanager
    def use(self, active: Mapping[str, BoundLora], sink: GradientSink | None = None) -> Iterator[None]:
        """Apply `active` to the modules it names; the rest of the model stays plain."""
        previous = (self.active, self.sink)
        self.active, self.sink = active, sink
        try:
            yield
        finally:
            self.active, self.sink = previous

    def install(self, name: str, module: nn.Module) -> None:
        """Make a module consult this slot. Installing it twice does nothing."""
        if name in self._installed:
            return
        self._installed[name] = module
        plain = cast(Any, module.forward)

        def forward(x: Tensor) -> Tensor:
            lora = self.active.get(name)
            return cast(Tensor, plain(x)) if lora is None else self._apply(name, lora, x)

        module.forward = forward

    def _apply(self, name: str, lora: BoundLora, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(lora.weight.dtype)
        if self.sink is None:
            y = adapted_rows(rows, lora)
        else:
            y = cast(Tensor, _AdaptedLinear.apply(rows, self.anchor, name, lora, self.sink))
        return y.to(x.dtype).view(*x.shape[:-1], y.shape[-1])


def adapted_rows(x: Tensor, lora: BoundLora) -> Tensor:
    """(rows, in) -> (rows, out) with the adapter."""
    y = F.linear(x, lora.weight, lora.bias)
    if lora.is_merged:
        return y
    return torch.addmm(y, torch.mm(x, lora.a.t()), lora.bt, alpha=lora.scale)


def adapted_input_gradient(grad: Tensor, lora: BoundLora) -> Tensor:
    """Gradient at the input (rows, in) for an upstream gradient (rows, out)."""
    dx = torch.mm(grad, lora.weight)
    if lora.is_merged:
        return dx
    return torch.addmm(dx, torch.mm(grad, lora.bt.t()), lora.a, alpha=lora.scale)


class _AdaptedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, anchor: Tensor, name: str, lora: BoundLora, sink: GradientSink
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.adapter = (name, lora, sink)
        return adapted_rows(x, lora)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        name, lora, sink = ctx.adapter
        grad = cast(Tensor, grads[0]).contiguous()
        sink.add(name, lora, x, grad, None)
        dx = adapted_input_gradient(grad, lora) if ctx.needs_input_grad[0] else None
        return dx, None, None, None, None
