"""Linear maps of a frozen base with LoRA adapters on them.

One `AdaptedLinear` may hold several modules that read the same input (q, k, v), laid side by side,
so that they cost one matrix product. Weights get no gradient: a backward pass computes the
gradient at the input and hands what LoRA needs to a sink.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tinker_engine.numerics.gradients import Flow, GradientSink
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.packing import Group


@dataclass(frozen=True)
class FrozenLinear:
    """Base modules side by side: weight (out, in), bias (out,) or None, one slice of out each."""

    names: tuple[str, ...]
    outputs: tuple[slice, ...]
    weight: Tensor
    bias: Tensor | None
    _casts: dict[torch.dtype, weakref.ref[Tensor]] = field(
        default_factory=dict[torch.dtype, "weakref.ref[Tensor]"], repr=False, compare=False
    )

    def weight_in(self, dtype: torch.dtype) -> Tensor:
        """The weight in a dtype: one copy for all who use it at the same time."""
        if self.weight.dtype == dtype:
            return self.weight
        known = self._casts.get(dtype)
        weight = known() if known is not None else None
        if weight is None:
            weight = self.weight.to(dtype)
            self._casts[dtype] = weakref.ref(weight)
        return weight

    @staticmethod
    def single(name: str, weight: Tensor, bias: Tensor | None) -> FrozenLinear:
        """One module by itself."""
        return FrozenLinear((name,), (slice(0, int(weight.shape[0])),), weight, bias)


@dataclass(frozen=True)
class AdaptedPart:
    """One adapted module within an AdaptedLinear: its outputs, and its columns of `u`."""

    name: str
    outputs: slice
    columns: slice
    factors: LoraFactors


@dataclass(frozen=True)
class AdaptedLinear:
    """weight (out, in), with scale * B A added when `is_merged`; `a` (sum of ranks, in)."""

    weight: Tensor
    bias: Tensor | None
    parts: tuple[AdaptedPart, ...]
    a: Tensor | None
    is_merged: bool


@dataclass(frozen=True)
class MixedLinear:
    """The same modules for rows of several adapters: one product for rows that share a weight.

    `spans` lists consecutive rows from 0 on, each with its adapter (or the bare base).
    """

    spans: tuple[tuple[slice, AdaptedLinear], ...]
    products: tuple[tuple[slice, AdaptedLinear], ...]

    @staticmethod
    def of(counts: Sequence[int], linears: Sequence[AdaptedLinear]) -> MixedLinear:
        """The first counts[0] rows go through linears[0], and so on."""
        spans: list[tuple[slice, AdaptedLinear]] = []
        products: list[tuple[slice, AdaptedLinear]] = []
        start = 0
        for count, linear in zip(counts, linears, strict=True):
            rows = slice(start, start + count)
            spans.append((rows, linear))
            if products and products[-1][1].weight is linear.weight:
                products[-1] = (slice(products[-1][0].start, rows.stop), linear)
            else:
                products.append((rows, linear))
            start += count
        return MixedLinear(tuple(spans), tuple(products))

    @property
    def weight(self) -> Tensor:
        """Of the first rows; all have one dtype."""
        return self.spans[0][1].weight

    @property
    def parts(self) -> tuple[AdaptedPart, ...]:
        """None: rows of several adapters are sampled, never trained."""
        return ()


def adapt(
    linear: FrozenLinear,
    factors: Mapping[str, LoraFactors],
    *,
    dtype: torch.dtype,
    merge: bool,
    shared: AdaptedLinear | None = None,
) -> AdaptedLinear:
    """Put the adapters that `factors` has for these modules on them.

    With `merge`, base + scale * B A is computed in fp32 and rounded to `dtype`: one matrix product
    per use instead of three, paid once per optimizer step. Without, `shared` is the bare base in
    `dtype`, whose weight is used as it is.
    """
    parts: list[AdaptedPart] = []
    column = 0
    present = [n for n in linear.names if n in factors]
    is_merged = merge and bool(present)
    with torch.no_grad():
        weight = (
            linear.weight.float().clone(memory_format=torch.contiguous_format)
            if is_merged
            else linear.weight_in(dtype)
        )
        for name, outputs in zip(linear.names, linear.outputs, strict=True):
            if name not in factors:
                continue
            lora = factors[name]
            if merge:
                weight[outputs].addmm_(lora.bt.t().float(), lora.a.float(), alpha=lora.scale)
            rank = int(lora.a.shape[0])
            parts.append(AdaptedPart(name, outputs, slice(column, column + rank), lora.to(dtype)))
            column += rank
        a = torch.cat([part.factors.a for part in parts]) if parts else None
    bias = linear.bias.to(dtype) if linear.bias is not None else None
    if shared is not None and not is_merged:
        return AdaptedLinear(shared.weight, shared.bias, tuple(parts), a, is_merged=False)
    return AdaptedLinear(weight.to(dtype), bias, tuple(parts), a, is_merged)


def take_apart(linear: FrozenLinear, adapted: AdaptedLinear) -> dict[str, AdaptedLinear]:
    """Each module by itself, sharing the memory of them all side by side."""
    return {
        name: AdaptedLinear(
            adapted.weight[outputs],
            adapted.bias[outputs] if adapted.bias is not None else None,
            tuple(
                AdaptedPart(part.name, slice(0, _width(outputs)), part.columns, part.factors)
                for part in adapted.parts
                if part.name == name
            ),
            adapted.a,
            adapted.is_merged,
        )
        for name, outputs in zip(linear.names, linear.outputs, strict=True)
    }


def _width(outputs: slice) -> int:
    return int(outputs.stop - outputs.start)


@dataclass(frozen=True)
class RowAdapter:
    """One run's adapter on a linear map, not merged, for its own rows of a microbatch."""

    rows: slice
    adapted: AdaptedLinear
    sink: GradientSink


@dataclass(frozen=True)
class SharedLinear:
    """One frozen map for the rows of several runs, with each run's adapter on its rows."""

    weight: Tensor
    bias: Tensor | None
    adapters: tuple[RowAdapter, ...]


def share(adapters: Sequence[RowAdapter]) -> SharedLinear:
    """Put the adapters of several runs on the map that is under all of them."""
    first = adapters[0].adapted
    used = tuple(adapter for adapter in adapters if adapter.adapted.parts)
    return SharedLinear(first.weight, first.bias, used)


def apply_linear(
    x: Tensor,
    linear: AdaptedLinear | MixedLinear | SharedLinear,
    sink: GradientSink | None,
    anchor: Tensor,
) -> Tensor:
    """(rows, in) -> (rows, out), in the weight's dtype.

    With a sink, the backward pass feeds it; a shared map has its sinks with it. `anchor` is any
    tensor that wants a gradient: it makes autograd visit adapted modules whose input wants none.
    """
    if isinstance(linear, SharedLinear):
        if linear.adapters:
            return cast(Tensor, _Shared.apply(x, anchor, linear))
        linear = AdaptedLinear(linear.weight, linear.bias, (), None, is_merged=False)
    if isinstance(linear, MixedLinear) or not torch.is_grad_enabled():
        return forward_rows(x, linear)
    if sink is None or not linear.parts:
        return cast(Tensor, _Frozen.apply(x, linear))
    return cast(Tensor, _Adapted.apply(x, anchor, linear, sink))


def forward_rows(x: Tensor, linear: AdaptedLinear | MixedLinear) -> Tensor:
    """(rows, in) -> (rows, out) with the adapters, without autograd."""
    if isinstance(linear, MixedLinear):
        pieces = [_plain_rows(x[rows], each) for rows, each in linear.products]
        y = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        for rows, each in linear.spans:
            _add_adapter(x[rows], y[rows], each)
        return y
    y = _plain_rows(x, linear)
    _add_adapter(x, y, linear)
    return y


def _plain_rows(x: Tensor, linear: AdaptedLinear) -> Tensor:
    if len(x) == 1 and x.dtype == torch.bfloat16 and not torch.is_grad_enabled():
        # A single bf16 row takes another kernel, whose last bits differ from a batch's.
        return F.linear(x.expand(2, -1), linear.weight, linear.bias)[:1]
    return F.linear(x, linear.weight, linear.bias)


def _add_adapter(x: Tensor, y: Tensor, linear: AdaptedLinear) -> None:
    """Y (rows, out) += scale * x A^T B^T, unless the weight has it in it already."""
    if linear.is_merged or linear.a is None:
        return
    u = torch.mm(x, linear.a.t())  # (rows, sum of ranks)
    for part in linear.parts:
        y[:, part.outputs].addmm_(u[:, part.columns], part.factors.bt, alpha=part.factors.scale)


def input_gradient(grad: Tensor, linear: AdaptedLinear) -> Tensor:
    """Gradient at the input (rows, in) for an upstream gradient (rows, out)."""
    dx = torch.mm(grad, linear.weight)
    if linear.is_merged:
        return dx
    for part in linear.parts:
        v = torch.mm(grad[:, part.outputs], part.factors.bt.t())
        dx.addmm_(v, part.factors.a, alpha=part.factors.scale)
    return dx


def feed(
    sink: GradientSink,
    linear: AdaptedLinear,
    x: Tensor,
    grad: Tensor,
    groups: Sequence[Group] | None = None,
) -> None:
    """Hand each part's input and upstream gradient to the sink."""
    if linear.a is None:
        return
    u = torch.mm(x, linear.a.t())
    for part in linear.parts:
        flow = Flow(part.name, part.factors, x, u[:, part.columns], grad[:, part.outputs], groups)
        sink.add(flow)


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, anchor: Tensor, linear: AdaptedLinear, sink: GradientSink
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.linear, ctx.sink = linear, sink
        return forward_rows(x, linear)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        grad = cast(Tensor, grads[0]).contiguous()
        feed(ctx.sink, ctx.linear, x, grad)
        dx = input_gradient(grad, ctx.linear) if ctx.needs_input_grad[0] else None
        return dx, None, None, None


class _Frozen(torch.autograd.Function):
    """A linear map without adapters: nothing but the gradient at the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: AdaptedLinear) -> Tensor:
        ctx.linear = linear
        return forward_rows(x, linear)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return input_gradient(cast(Tensor, grads[0]), ctx.linear), None


class _Shared(torch.autograd.Function):
    """Only for training; the products of low rank run over each run's rows alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, linear: SharedLinear) -> Tensor:
        del anchor
        y = F.linear(x, linear.weight, linear.bias)
        inner: list[Tensor] = []
        for adapter in linear.adapters:
            a = cast(Tensor, adapter.adapted.a)
            u = torch.mm(x[adapter.rows], a.t())  # (its rows, sum of ranks)
            for part in adapter.adapted.parts:
                target = y[adapter.rows, part.outputs]
                target.addmm_(u[:, part.columns], part.factors.bt, alpha=part.factors.scale)
            inner.append(u)
        ctx.save_for_backward(x, *inner)
        ctx.linear = linear
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, *inner = ctx.saved_tensors
        linear = cast(SharedLinear, ctx.linear)
        grad = cast(Tensor, grads[0]).contiguous()
        dx = torch.mm(grad, linear.weight) if ctx.needs_input_grad[0] else None
        for adapter, u in zip(linear.adapters, inner, strict=True):
            rows = adapter.rows
            for part in adapter.adapted.parts:
                upstream = grad[rows, part.outputs]
                v = torch.mm(upstream, part.factors.bt.t())  # (its rows, r)
                if dx is not None:
                    dx[rows].addmm_(v, part.factors.a, alpha=part.factors.scale)
                columns = u[:, part.columns]
                adapter.sink.add(Flow(part.name, part.factors, x[rows], columns, upstream, v=v))
        return dx, None, None
