"""Continuing prompts with a key-value cache of our own.

Prompts are read as flat rows, group by group of equal length, without padding or masks. In the
cache they end at one common position, so that all rows append at the same place; a mask hides what
lies before the start of a shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tinker_engine.numerics.attention import Rotation, rotate, self_attention
from tinker_engine.numerics.decoder_parts import rms_norm
from tinker_engine.numerics.packing import Limits, Microbatch, plan_exact
from tinker_engine.runtime.records import IntArray

if TYPE_CHECKING:
    from tinker_engine.models.llama_network import AdaptedLlama, LlamaNetwork


class LlamaContinuation:
    """Keys and values (layer, 2, B, KV, S, d); S holds the longest prompt and the new tokens."""

    def __init__(
        self,
        network: LlamaNetwork,
        adapted: AdaptedLlama,
        prompts: Sequence[IntArray],
        capacity: int,
    ) -> None:
        self._network = network
        self._adapted = adapted
        lengths = [len(p) for p in prompts]
        self._used = max(lengths)
        self._lengths = torch.tensor(lengths)
        shape = network.shape
        self._cache = torch.zeros(
            len(network.blocks),
            2,
            len(prompts),
            shape.kv_heads,
            self._used + capacity,
            shape.width,
            dtype=adapted.dtype,
        )
        self._starts = [0] * len(prompts)
        self._hidden = self._read(prompts, lengths)
        ends = torch.tensor([s + n - 1 for s, n in zip(self._starts, lengths, strict=True)])
        self._last = self._hidden[ends]

    @property
    def last(self) -> Tensor:
        return self._last

    def prompt_hidden(self, row: int) -> Tensor:
        start = self._starts[row]
        return self._hidden[start : start + int(self._lengths[row])]

    def select(self, rows: Sequence[int]) -> None:
        index = torch.tensor(rows, dtype=torch.int64)
        # What is still unused needn't be copied.
        layers, two, _, *rest = self._cache.shape
        kept = self._cache.new_empty(layers, two, len(rows), *rest)
        kept[..., : self._used, :] = self._cache[..., : self._used, :].index_select(2, index)
        self._cache = kept
        self._lengths = self._lengths[index]
        self._last = self._last[index]

    def advance(self, tokens: Tensor) -> None:
        network, used = self._network, self._used + 1
        rotation = network.rotation(self._lengths, self._adapted.dtype)
        self._lengths = self._lengths + 1
        is_before = torch.arange(used)[None] < (used - self._lengths)[:, None]  # (B, used)
        heads, _, width = network.shape
        rotated = rotation.cos.shape[1]
        x = network.embed(tokens)
        for i, (base, block) in enumerate(zip(network.blocks, self._adapted.blocks, strict=True)):
            qkv = network.project(base, block, x, None)
            q_k = rotate(qkv[:, :rotated], rotation, width).unflatten(1, (-1, width))
            keys, values = self._cache[i, 0], self._cache[i, 1]  # (B, KV, S, d)
            keys[:, :, used - 1] = q_k[:, heads:]
            values[:, :, used - 1] = qkv[:, rotated:].unflatten(1, (-1, width))
            y = self._attend(q_k[:, :heads], keys[:, :, :used], values[:, :, :used], is_before)
            x = network.finish(base, block, x, y, None)
        self._used = used
        self._last = rms_norm(x, network.final_norm, network.eps, torch.float32)

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, is_before: Tensor) -> Tensor:
        """One query (B, H, d) per row over keys and values (B, KV, used, d) -> (B, H * d)."""
        shape = self._network.shape
        queries = q.reshape(len(q), shape.kv_heads, -1, shape.width)  # (B, KV, rep, d)
        scores = torch.matmul(queries, keys.transpose(2, 3)).mul_(shape.width**-0.5)
        weights = torch.softmax(scores.masked_fill_(is_before[:, None, None], -torch.inf), dim=-1)
        return torch.matmul(weights, values).reshape(len(q), -1)

    def _read(self, prompts: Sequence[IntArray], lengths: Sequence[int]) -> Tensor:
        """Fill the cache; hidden states (rows, D) of all prompts, row b from `_starts[b]` on."""
        network = self._network
        rows = sum(lengths)
        (batch,) = plan_exact(lengths, Limits(rows, len(prompts)))
        for index, offset in zip(batch.indices, batch.offsets, strict=True):
            self._starts[index] = offset
        order = torch.tensor(batch.indices)
        ids = np.concatenate([prompts[i] for i in batch.indices])
        positions = torch.cat([torch.arange(g.length).repeat(g.count) for g in batch.groups])
        rotation = network.rotation(positions, self._adapted.dtype)
        x = network.embed(torch.from_numpy(ids))
        for i, (base, block) in enumerate(zip(network.blocks, self._adapted.blocks, strict=True)):
            qkv = network.project(base, block, x, None)
            self._store(i, qkv, rotation, batch, order)
            y = self_attention(qkv, rotation, batch.groups, network.shape)
            x = network.finish(base, block, x, y, None)
        return rms_norm(x, network.final_norm, network.eps, torch.float32)

    def _store(
        self, layer: int, qkv: Tensor, rotation: Rotation, batch: Microbatch, order: Tensor
    ) -> None:
        """Put a layer's rotated keys and plain values where later tokens look for them."""
        heads, kv_heads, width = self._network.shape
        low, high = heads * width, (heads + kv_heads) * width
        factors = Rotation(rotation.cos[:, low:], rotation.sin[:, low:])
        keys = rotate(qkv[:, low:high], factors, width)
        for group in batch.groups:
            owners = order[group.first : group.first + group.count]
            places = slice(self._used - group.length, self._used)
            for slot, part in enumerate((keys, qkv[:, high:])):
                rows = part[group.start : group.stop]
                kept = rows.reshape(group.count, group.length, kv_heads, width)
                self._cache[layer, slot, owners, :, places] = kept.transpose(1, 2)
