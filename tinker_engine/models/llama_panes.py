"""Keys and values of rows that are being continued, and of prompts that were read.

Rows whose sequences fit the same number of positions share a pane, a tensor with one slot for each;
a row that outgrows its pane moves to the next larger one, so short rows never pay for a long one.
Taken slots come first, without gaps, so attention works on plain views. What lies behind a row's
end is finite, and hidden by a mask; a slot that may hold a NaN is wiped when it is freed, so that
nothing of one row can reach another.
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
    """Layers, key/value heads, the width of one head, and what is kept of it."""

    layers: int
    kv_heads: int
    width: int
    dtype: torch.dtype

    def bytes_for(self, positions: int) -> int:
        """Memory of this many cached positions."""
        return 2 * self.dtype.itemsize * self.layers * self.kv_heads * self.width * positions


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
        cache = torch.empty(size, dtype=shape.dtype)
        if source is not None:
            cache[..., :shared, :] = source.cache[..., :shared, :]
        return LlamaPrompt(tokens, cache, shared if source is not None else 0)

    @property
    def size_bytes(self) -> int:
        """Memory of the cache."""
        return self.cache.numel() * self.cache.element_size()


@dataclass
class Pane:
    """Slots for rows of one model with at most `positions` tokens each.

    `keys` is (layer, slots, KV, d, positions), the order in which queries meet them fastest;
    `values` is (layer, slots, KV, positions, d). Slot k belongs to row owners[k].
    """

    shape: CacheShape
    positions: int
    keys: Tensor
    values: Tensor
    owners: list[int] = field(default_factory=list[int])
    lengths: list[int] = field(default_factory=list[int])

    @staticmethod
    def empty(shape: CacheShape, positions: int) -> Pane:
        """A pane without slots."""
        return Pane(shape, positions, *_slots(shape, 0, positions))

    def add(self, rows: Sequence[int], prompt: LlamaPrompt, length: int) -> None:
        """Give each row a slot with a copy of the first `length` tokens of a prompt."""
        first = len(self.owners)
        self._reserve(first + len(rows))
        slots = slice(first, first + len(rows))
        keys, values = prompt.cache[:, :1, :, :length], prompt.cache[:, 1:, :, :length]
        self.keys[:, slots, ..., :length] = keys.transpose(3, 4)
        self.values[:, slots, :, :length] = values
        self.owners.extend(rows)
        self.lengths.extend([length] * len(rows))

    def copy(self, slot: int, tokens: IntArray) -> LlamaPrompt:
        """What a slot holds, as a prompt that was read."""
        length = len(tokens)
        keys = self.keys[:, slot, ..., :length].transpose(2, 3)
        values = self.values[:, slot, :, :length]
        return LlamaPrompt(tokens, torch.stack([keys, values], dim=1), length)

    def remove(self, slots: Sequence[int], *, wipe: bool) -> None:
        """Free slots; the last rows take their places."""
        is_emptied = len(slots) == len(self.owners)
        for slot in sorted(slots, reverse=True):
            last = len(self.owners) - 1
            if wipe:
                self.keys[:, slot] = 0
                self.values[:, slot] = 0
            if slot != last and not is_emptied:
                self.keys[:, slot] = self.keys[:, last]
                self.values[:, slot] = self.values[:, last]
            self.owners[slot], self.lengths[slot] = self.owners[last], self.lengths[last]
            self.owners.pop()
            self.lengths.pop()

    def _reserve(self, slots: int) -> None:
        held = int(self.keys.shape[1])
        if slots <= held:
            return
        used = len(self.owners)
        # Half as much again: growing row by row would copy the pane each time.
        keys, values = _slots(self.shape, max(slots, held * 3 // 2), self.positions)
        keys[:, :used], values[:, :used] = self.keys[:, :used], self.values[:, :used]
        self.keys, self.values = keys, values


def _slots(shape: CacheShape, slots: int, positions: int) -> tuple[Tensor, Tensor]:
    layers, kv_heads, width, dtype = shape
    return (
        torch.zeros(layers, slots, kv_heads, width, positions, dtype=dtype),
        torch.zeros(layers, slots, kv_heads, positions, width, dtype=dtype),
    )
