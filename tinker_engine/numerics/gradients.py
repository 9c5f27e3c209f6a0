"""Where LoRA gradients go during a backward pass: summed, or kept per example and clipped.

For y = x W^T + s (x A^T) B^T with upstream gradient g (rows, out), the gradients are
dB^T = s (x A^T)^T g (r, out) and dA = s (g B)^T x (r, in), summed over the rows of one example or
of all. Modules hand in x and g; nothing here needs autograd.

Per-example clipping follows DP-SGD (arXiv 1607.00133, Algorithm 1): each example's gradient over
all trained tensors is scaled by min(1, C / norm) and the results are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from tinker_engine.numerics.lora import BoundLora, LoraLayout
from tinker_engine.numerics.packing import Group

# fp32 rounding inside one row of a norm may under-estimate it by a few 1e-7; the surplus keeps the
# clipped norm at or below C.
NORM_SURPLUS = 1e-6


class GradientSink(Protocol):
    """Receives one module's input and upstream gradient for the rows of a microbatch."""

    def add(self, name: str, lora: BoundLora, x: Tensor, grad: Tensor, groups: Sequence[Group] | None) -> None:
        """`x` (rows, in), `grad` (rows, out). `groups` None: the whole current microbatch."""
        ...


class SummedGradients:
    """Adds gradients of all examples to one flat fp32 accumulator (trainable,)."""

    def __init__(self, layout: LoraLayout, accumulator: Tensor) -> None:
        self._layout = layout
        self._accumulator = accumulator

    def add(self, name: str, lora: BoundLora, x: Tensor, grad: Tensor, groups: Sequence[Group] | None) -> None:
        del groups
        segments = self._layout.segments
        u = torch.mm(x, lora.a.t())  # (rows, r)
        segments[name, "B"].view(self._accumulator).add_(torch.mm(u.t(), grad), alpha=lora.scale)
        if self._layout.trains_a:
            v = torch.mm(grad, lora.bt.t())  # (rows, r)
            segments[name, "A"].view(self._accumulator).add_(torch.mm(v.t(), x), alpha=lora.scale)


class ClippedGradients:
    """Keeps each example's gradient for one microbatch, then adds the clipped ones.

    The accumulator is a flat fp64 vector (trainable,): sums of hundreds of examples then match a
    one-by-one loop to fp32 accuracy, whatever the microbatches.
    """

    def __init__(self, layout: LoraLayout, accumulator: Tensor, clip_norm: float) -> None:
        self._layout = layout
        self._accumulator = accumulator
        self._clip_norm = clip_norm
        self._buffers: dict[tuple[str, str], Tensor] = {}
        self._groups: tuple[Group, ...] = ()
        self._count = 0
        self._squares = torch.zeros(0, dtype=torch.float64)
        self._pieced: set[tuple[str, str]] = set()
        self._written: set[tuple[str, str]] = set()

    def begin(self, groups: tuple[Group, ...]) -> None:
        """Start a microbatch whose examples are laid out as `groups`."""
        self._groups = groups
        self._count = sum(group.count for group in groups)
        self._squares = torch.zeros(self._count, dtype=torch.float64)
        self._pieced.clear()
        self._written.clear()

    def add(self, name: str, lora: BoundLora, x: Tensor, grad: Tensor, groups: Sequence[Group] | None) -> None:
        u = torch.mm(x, lora.a.t()).mul_(lora.scale)  # (rows, r)
        self._keep((name, "B"), u, grad, groups)
        if self._layout.trains_a:
            v = torch.mm(grad, lora.bt.t()).mul_(lora.scale)
            self._keep((name, "A"), v, x, groups)

    def _keep(self, key: tuple[str, str], left: Tensor, right: Tensor, pieces: Sequence[Group] | None) -> None:
        """Per-example left^T right: left (rows, r), right (rows, width)."""
        rank, width = left.shape[1], right.shape[1]
        buffer = self._buffer(key, rank, width, right.dtype, cleared=pieces is not None)
        for group in self._groups if pieces is None else pieces:
            rows = slice(group.start, group.stop)
            lefts = left[rows].view(group.count, group.length, rank).transpose(1, 2)
            rights = right[rows].view(group.count, group.length, width)
            target = buffer[group.first : group.first + group.count]
            if pieces is not None:
                target.baddbmm_(lefts, rights)
                continue
            torch.bmm(lefts, rights, out=target)
            # While the product is still in the cache; blocks of one row in fp32, then fp64.
            self._squares[group.first : group.first + group.count] += _squares(target)

    def _buffer(self, key: tuple[str, str], rank: int, width: int, dtype: torch.dtype, *, cleared: bool) -> Tensor:
        """(count, rank, width), reused between microbatches: fresh pages cost more than the sum."""
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape[0] < self._count or buffer.dtype != dtype:
            buffer = torch.empty(self._count, rank, width, dtype=dtype)
            self._buffers[key] = buffer
        view = buffer[: self._count]
        if cleared and key not in self._pieced:
            view.zero_()
            self._pieced.add(key)
        self._written.add(key)
        return view

    def finish(self) -> Tensor:
        """Clip and add this microbatch; gives the norms before clipping (count,) fp64.

        A norm that isn't finite is returned as it is and its example adds nothing: the caller
        must refuse the request.
        """
        for key in self._pieced:
            self._squares += _squares(self._buffers[key][: self._count])
        norms = self._squares.sqrt()
        factors = clip_factors(norms, self._clip_norm)
        for module, factor in sorted(self._written):
            segment = self._layout.segments[module, "A" if factor == "A" else "B"]
            kept = self._buffers[module, factor][: self._count].view(self._count, -1)
            total = torch.mv(kept.t(), factors.to(kept.dtype)) if kept.dtype == torch.float32 else (
                torch.mv(kept.float().t(), factors.float())
            )
            segment.view(self._accumulator).add_(total.view(segment.rank, segment.width))
        return norms


def _squares(gradients: Tensor) -> Tensor:
    """Squared norm of each (rank, width) matrix in (n, rank, width), as fp64 (n,)."""
    blocks = gradients if gradients.dtype == torch.float32 else gradients.float()
    return torch.linalg.vecdot(blocks, blocks, dim=-1).sum(dim=-1, dtype=torch.float64)


def clip_factors(norms: Tensor, clip_norm: float) -> Tensor:
    """min(1, C / norm) for each norm (n,) fp64; 0 for a norm that isn't finite."""
    factors = torch.clamp(clip_norm / (norms * (1.0 + NORM_SURPLUS)), max=1.0)
    return torch.where(torch.isfinite(norms), torch.nan_to_num(factors, nan=1.0), 0.0)
