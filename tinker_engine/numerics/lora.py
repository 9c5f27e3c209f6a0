"""LoRA parameters of one run, kept in one flat fp32 vector.

For a linear map with weight W (out, in) the adapted map is `W + (alpha / rank) * B A` with A
(rank, in) and B (out, rank) (LoRA, arXiv 2106.09685, eq. 3). B is stored transposed (rank, out), so
both factors and all their gradients are `rank` contiguous rows. All B come first in the vector, so
training B alone is a prefix of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Factor = Literal["A", "B"]


@dataclass(frozen=True)
class Segment:
    """Where one factor of one module lies in the flat vector: `rank` rows of `width` values."""

    module: str
    factor: Factor
    offset: int
    rank: int
    width: int

    def view(self, flat: Tensor) -> Tensor:
        """(rank, width) view of a flat vector in this layout."""
        return flat[self.offset : self.offset + self.rank * self.width].view(self.rank, self.width)


@dataclass(frozen=True)
class LoraLayout:
    """Modules with their (in, out) sizes, and the place of each factor."""

    modules: dict[str, tuple[int, int]]
    rank: int
    trains_a: bool
    segments: dict[tuple[str, Factor], Segment]
    size: int
    trainable: int

    @staticmethod
    def of(modules: Mapping[str, tuple[int, int]], rank: int, *, trains_a: bool) -> LoraLayout:
        """Layout for modules given as name -> (in, out)."""
        segments: dict[tuple[str, Factor], Segment] = {}
        offset = 0
        factors: tuple[Factor, Factor] = ("B", "A")
        trainable = 0
        for factor in factors:
            for name, (width_in, width_out) in modules.items():
                width = width_out if factor == "B" else width_in
                segments[name, factor] = Segment(name, factor, offset, rank, width)
                offset += rank * width
            if factor == "B" or trains_a:
                trainable = offset
        return LoraLayout(dict(modules), rank, trains_a, segments, offset, trainable)


def initial_parameters(layout: LoraLayout, seed: int) -> Tensor:
    """Flat (size,) fp32: B zero, A uniform in ±1/sqrt(in) as PEFT and nn.Linear start it."""
    flat = torch.zeros(layout.size, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    for name, (width_in, _) in layout.modules.items():
        a = layout.segments[name, "A"].view(flat)
        a.uniform_(-1.0 / math.sqrt(width_in), 1.0 / math.sqrt(width_in), generator=generator)
    return flat


@dataclass(frozen=True)
class FrozenLinear:
    """A base model's linear map: weight (out, in), bias (out,) or None."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class BoundLora:
    """One module's adapter, ready for use in a forward pass.

    `a` (r, in) and `bt` (r, out) are in the compute dtype, `scale` is alpha / rank. `weight`
    (out, in) is the base weight, with the adapter added when `is_merged`.
    """

    a: Tensor
    bt: Tensor
    scale: float
    weight: Tensor
    bias: Tensor | None
    is_merged: bool


def bind(
    layout: LoraLayout,
    flat: Tensor,
    alpha: float,
    base: Mapping[str, FrozenLinear],
    *,
    dtype: torch.dtype,
    merge: bool,
) -> dict[str, BoundLora]:
    """Adapters of all modules for a forward pass at the present parameters.

    With `merge`, each weight is base + scale * B A, computed in fp32 and then rounded to `dtype`:
    one matrix product per module instead of three, paid once per optimizer step.
    """
    scale = alpha / layout.rank
    bound: dict[str, BoundLora] = {}
    with torch.no_grad():
        for name in layout.modules:
            a = layout.segments[name, "A"].view(flat)
            bt = layout.segments[name, "B"].view(flat)
            linear = base[name]
            weight = linear.weight
            if merge:
                weight = torch.addmm(weight.float(), bt.t(), a, alpha=scale)
            bound[name] = BoundLora(
                a.to(dtype),
                bt.to(dtype),
                scale,
                weight.to(dtype),
                None if linear.bias is None else linear.bias.to(dtype),
                merge,
            )
    return bound
