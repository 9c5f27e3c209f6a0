"""Keys and values of rows that are being continued, and of prompts that were read.

Rows whose sequences fit the same number of positions share a pane, a tensor with one slot for each;
a row that outgrows its pane moves to the next larger one, so short rows never pay for a long one.
Taken slots come first, without gaps, so attention works on plain views. All of it is fp32: on CPUs
its small products are faster than those of bf16, and more exact. Memory that no row uses is zero,
so that nothing of an earlier row, a NaN included, can reach another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tinker_engine.runtime.records import IntArray

SMALLEST = 64


class CacheShape(NamedTuple):
    """Layers, key/value heads and the width of one head."""

    layers: int
    kv_heads: int
    width: int

    def bytes_for(self, positions: int) -> int:
        """Memory of this many cached positions."""
        return 2 * 4 * self.layers * self.kv_heads * self.width * positions


def pane_positions(needed: int) -> int:
    """Positions of the smallest pane that holds this many: 64, 96, 128, 192, 256, 384, ..."""
    size = SMALLEST
    while size < needed:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


@dataclass
class LlamaPrompt:
    """A prompt with the keys and values of its first `read` tokens.

    `cache` is (layer, 2, KV, T, d): rotated keys, then values.
    """

    tokens: IntArray
    cache: Tensor
    read: int

    @staticmethod
    def begin(
        tokens: IntArray, shape: CacheShape, source: LlamaPrompt | None, shared: int
    ) -> LlamaPrompt:
        """Nothing read yet but for the first `shared` tokens, which `source` has read."""
        size = (shape.layers, 2, shape.kv_heads, len(tokens), shape.width)
        cache = torch.empty(size, dtype=torch.float32)
        if source is not None:
            cache[..., :shared, :] = source.cache[..., :shared, :]
        return LlamaPrompt(tokens, cache, shared if source is not None else 0)

    @property
    def size_bytes(self) -> int:
        """Memory of the cache."""
        return self.cache.numel() * 4


@dataclass
class Pane:
    """Slots for rows of one model with at most `positions` tokens each.

    `cache` is (layer, 2, slots, KV, positions, d); slot k belongs to row owners[k].
    """

    shape: CacheShape
    positions: int
    cache: Tensor
    owners: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    @staticmethod
    def empty(shape: CacheShape, positions: int) -> Pane:
        """A pane without slots."""
        return Pane(shape, positions, _slots(shape, 0, positions))

    def add(self, rows: Sequence[int], cache: Tensor, length: int) -> None:
        """Give each row a slot with a copy of `cache` (layer, 2, KV, >= length, d)."""
        first = len(self.owners)
        self._reserve(first + len(rows))
        self.cache[:, :, first : first + len(rows), :, :length] = cache[:, :, None, :, :length]
        self.owners.extend(rows)
        self.lengths.extend([length] * len(rows))

    def of(self, row: int) -> Tensor:
        """The row's own cache (layer, 2, KV, positions, d); a view."""
        return self.cache[:, :, self.owners.index(row)]

    def remove(self, slot: int) -> None:
        """Free a slot; the last row takes its place."""
        last = len(self.owners) - 1
        if slot != last:
            self.cache[:, :, slot] = self.cache[:, :, last]
            self.owners[slot], self.lengths[slot] = self.owners[last], self.lengths[last]
        self.cache[:, :, last] = 0
        self.owners.pop()
        self.lengths.pop()
        if not self.owners:
            self.cache = _slots(self.shape, 0, self.positions)

    def _reserve(self, slots: int) -> None:
        held = int(self.cache.shape[2])
        if slots <= held:
            return
        used = len(self.owners)
        # Half as much again: growing row by row would copy the pane each time.
        grown = _slots(self.shape, max(slots, held * 3 // 2), self.positions)
        grown[:, :, :used] = self.cache[:, :, :used]
        self.cache = grown


def _slots(shape: CacheShape, slots: int, positions: int) -> Tensor:
    size = (shape.layers, 2, slots, shape.kv_heads, positions, shape.width)
    return torch.zeros(size, dtype=torch.float32)
