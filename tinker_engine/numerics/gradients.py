"""Where LoRA gradients go during a backward pass: summed, or kept per example and clipped.

For y = x W^T + s (x A^T) B^T with upstream gradient g (rows, out), the gradients are
dB^T = s (x A^T)^T g (r, out) and dA = s (g B)^T x (r, in), summed over the rows of one example or
of all. Modules hand in x, u = x A^T and g; nothing here needs autograd.

Per-example clipping follows DP-SGD (arXiv 1607.00133, Algorithm 1): each example's gradient over
all trained tensors is scaled by min(1, C / norm) and the results are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tinker_engine.numerics.lora import Factor, LoraFactors, LoraLayout
from tinker_engine.numerics.packing import Group

# fp32 rounding inside one row of a norm may under-estimate it by a few 1e-7; the surplus keeps the
# clipped norm at or below C.
NORM_SURPLUS = 1e-6


@dataclass(frozen=True)
class Flow:
    """What passed through one adapted module: x (rows, in), u = x A^T (rows, r), g (rows, out).

    `v` is g B^T (rows, r) where it was needed anyway. `groups` says how the rows belong to
    examples; None: as in the whole current microbatch.
    """

    module: str
    factors: LoraFactors
    x: Tensor
    u: Tensor
    grad: Tensor
    groups: Sequence[Group] | None = None
    v: Tensor | None = None

    def inner_gradient(self) -> Tensor:
        """The gradient at u over the scale: g B^T (rows, r)."""
        return torch.mm(self.grad, self.factors.bt.t()) if self.v is None else self.v


class GradientSink(Protocol):
    """Receives what a backward pass meets in adapted modules."""

    def add(self, flow: Flow) -> None:
        """Take one module's part for some rows of the microbatch."""
        ...


class SummedGradients:
    """Adds gradients of all examples to one flat fp32 accumulator (trainable,)."""

    def __init__(self, layout: LoraLayout, accumulator: Tensor) -> None:
        self._layout = layout
        self._accumulator = accumulator

    def add(self, flow: Flow) -> None:
        segments, scale = self._layout.segments, flow.factors.scale
        into = segments[flow.module, "B"].view(self._accumulator)
        into.add_(torch.mm(flow.u.t(), flow.grad), alpha=scale)
        if self._layout.trains_a:
            into = segments[flow.module, "A"].view(self._accumulator)
            into.add_(torch.mm(flow.inner_gradient().t(), flow.x), alpha=scale)


class ClippedGradients:
    """Keeps each example's gradient for one microbatch, then adds the clipped ones.

    The accumulator is a flat fp64 vector (trainable,): sums of hundreds of examples then match a
    one-by-one loop to fp32 accuracy, whatever the microbatches.
    """

    def __init__(self, layout: LoraLayout, accumulator: Tensor, clip_norm: float) -> None:
        self._layout = layout
        self._accumulator = accumulator
        self._clip_norm = clip_norm
        self._buffers: dict[tuple[str, Factor], Tensor] = {}
        self._groups: tuple[Group, ...] = ()
        self._count = 0
        # Each segment's row norms stand in `rank` columns of their own.
        self._columns = {
            key: slice(place * layout.rank, (place + 1) * layout.rank)
            for place, key in enumerate(layout.segments)
        }
        self._row_norms = torch.zeros(0)
        self._pieced: set[tuple[str, Factor]] = set()
        self._written: set[tuple[str, Factor]] = set()

    def begin(self, groups: tuple[Group, ...]) -> None:
        """Start a microbatch whose examples are laid out as `groups`."""
        self._groups = groups
        self._count = sum(group.count for group in groups)
        self._row_norms = torch.zeros(self._count, len(self._columns) * self._layout.rank)
        self._pieced.clear()
        self._written.clear()

    def add(self, flow: Flow) -> None:
        self._keep((flow.module, "B"), flow.u * flow.factors.scale, flow.grad, flow.groups)
        if self._layout.trains_a:
            v = flow.inner_gradient() * flow.factors.scale
            self._keep((flow.module, "A"), v, flow.x, flow.groups)

    def _keep(
        self,
        key: tuple[str, Factor],
        left: Tensor,
        right: Tensor,
        pieces: Sequence[Group] | None,
    ) -> None:
        """Per-example left^T right: left (rows, r), right (rows, width)."""
        rank, width = left.shape[1], right.shape[1]
        buffer = self._buffer(key, (rank, width), right.dtype, is_pieced=pieces is not None)
        row_norms = self._row_norms[:, self._columns[key]]
        for group in self._groups if pieces is None else pieces:
            rows, examples = slice(group.start, group.stop), slice(group.first, group.last)
            target = buffer[examples]
            if pieces is not None:
                lefts, rights = left[rows], right[rows]
                shape = group.count, group.length, -1
                target.baddbmm_(lefts.view(shape).transpose(1, 2), rights.view(shape))
                continue
            if group.count == 1:
                # A bmm of one costs a fifth more than this.
                torch.mm(left[rows].t(), right[rows], out=target[0])
            else:
                lefts = left[rows].view(group.count, group.length, rank).transpose(1, 2)
                rights = right[rows].view(group.count, group.length, width)
                torch.bmm(lefts, rights, out=target)
            # While the product is still in the cache.
            norm_rows(target, row_norms[examples])

    def _buffer(
        self,
        key: tuple[str, Factor],
        shape: tuple[int, int],
        dtype: torch.dtype,
        *,
        is_pieced: bool,
    ) -> Tensor:
        """(count, rank, width), reused between microbatches: fresh pages cost more than the sum.

        For gradients that come in pieces it starts as zeros.
        """
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape[0] < self._count or buffer.dtype != dtype:
            buffer = torch.empty(self._count, *shape, dtype=dtype)
            self._buffers[key] = buffer
        view = buffer[: self._count]
        if is_pieced and key not in self._pieced:
            view.zero_()
            self._pieced.add(key)
        self._written.add(key)
        return view

    def per_example(self) -> Tensor:
        """Gradients of this microbatch before clipping, as a copy (count, trainable) fp32."""
        rows = torch.zeros(self._count, self._layout.trainable)
        for key in self._written:
            segment = self._layout.segments[key]
            stop = segment.offset + segment.rank * segment.width
            rows[:, segment.offset : stop] = self._buffers[key][: self._count].flatten(1)
        return rows

    def finish(self) -> Tensor:
        """Clip and add this microbatch; gives the norms before clipping (count,) fp64.

        An example whose norm isn't finite makes the accumulator so, and the caller must refuse it.
        """
        for key in self._pieced:
            kept = self._buffers[key][: self._count]
            norm_rows(kept, self._row_norms[:, self._columns[key]])
        norms = self._row_norms.double().square_().sum(dim=-1).sqrt_()
        factors = clip_factors(norms, self._clip_norm).float()
        for key in sorted(self._written):
            segment = self._layout.segments[key]
            kept = self._buffers[key][: self._count].view(self._count, -1)
            total = torch.mv(kept.float().t(), factors)  # (rank * width,)
            segment.view(self._accumulator).add_(total.view(segment.rank, segment.width))
        return norms


def norm_rows(gradients: Tensor, out: Tensor) -> None:
    """Norm of each row of (n, rank, width) into fp32 `out` (n, rank).

    One row is summed in fp32 (blocked by torch); what adds rows up must do so in fp64: a plain fp32
    sum over millions of values is off by up to 3e-4.
    """
    torch.linalg.vector_norm(gradients, dim=-1, dtype=torch.float32, out=out)


def clip_factors(norms: Tensor, clip_norm: float) -> Tensor:
    """min(1, C / norm) for each norm (n,) fp64, a hair smaller; NaN for a norm not finite."""
    factors = torch.clamp(clip_norm / (norms * (1.0 + NORM_SURPLUS)), max=1.0)
    return torch.where(torch.isfinite(norms), factors, torch.nan)
