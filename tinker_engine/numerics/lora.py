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
class LoraFactors:
    """One module's adapter for a forward pass: `a` (r, in), `bt` (r, out), scale alpha / rank."""

    a: Tensor
    bt: Tensor
    scale: float

    def to(self, dtype: torch.dtype) -> LoraFactors:
        """The same in another dtype, detached from the parameters."""
        return LoraFactors(self.a.to(dtype, copy=True), self.bt.to(dtype, copy=True), self.scale)


def module_factors(layout: LoraLayout, flat: Tensor, alpha: float) -> dict[str, LoraFactors]:
    """fp32 views of each module's factors in the flat vector."""
    scale = alpha / layout.rank
    return {
        name: LoraFactors(
            layout.segments[name, "A"].view(flat), layout.segments[name, "B"].view(flat), scale
        )
        for name in layout.modules
    }
