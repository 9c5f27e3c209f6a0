"""Choosing tokens from logits. Each row has its own settings and its own random stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """How one row samples: temperature 0 is greedy; top_k <= 0 and top_p >= 1 are off."""

    temperature: float
    top_k: int
    top_p: float


class RandomStream:
    """Uniform numbers of one sequence, a function of (seed, sample index) alone."""

    def __init__(self, seed: int | None, sample: int) -> None:
        entropy = None if seed is None else [seed % (1 << 64), sample]
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))

    def uniform(self) -> float:
        """Next number in [0, 1)."""
        return float(self._generator.random())


def choose_tokens(
    logits: Tensor, choices: Sequence[Choice], streams: Sequence[RandomStream]
) -> Tensor:
    """Next token (B,) for fp32 logits (B, V).

    A sampled row takes the inverse of its own cumulative distribution at one uniform number, so a
    result depends on no other row.
    """
    tokens = logits.argmax(dim=-1)
    plain: list[int] = []
    filtered: list[int] = []
    for row, choice in enumerate(choices):
        if choice.temperature > 0:
            # Sorting changes the order that a uniform number runs through, so only those rows are
            # sorted that would be if they were alone.
            is_filtered = choice.top_k > 0 or choice.top_p < 1
            (filtered if is_filtered else plain).append(row)
    for rows in (plain, filtered):
        if rows:
            picked = [choices[row] for row in rows]
            index = torch.tensor(rows)
            scaled = logits[index] / torch.tensor([[choice.temperature] for choice in picked])
            order: Tensor | None = None
            if rows is filtered:
                scaled, order = scaled.sort(dim=-1, descending=True, stable=True)
                scaled = _filtered(scaled, picked)
            place = _draw(scaled, [streams[row] for row in rows])
            tokens[index] = (place if order is None else order.gather(1, place))[:, 0]
    return tokens


def _draw(scaled: Tensor, streams: Sequence[RandomStream]) -> Tensor:
    """Places (n, 1) drawn from softmax(scaled) (n, V)."""
    cumulative = torch.softmax(scaled, dim=-1).cumsum(dim=-1, dtype=torch.float64)
    uniform = torch.tensor([[stream.uniform()] for stream in streams], dtype=torch.float64)
    place = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    return place.clamp_(max=scaled.shape[1] - 1)


def _filtered(scaled: Tensor, choices: Sequence[Choice]) -> Tensor:
    """Descending logits (n, V) with those outside top-k and top-p at minus infinity."""
    size = scaled.shape[1]
    limits = torch.tensor([[c.top_k if 0 < c.top_k < size else size] for c in choices])
    outside = torch.arange(size)[None] >= limits
    scaled = scaled.masked_fill(outside, -torch.inf)
    top_p = torch.tensor([[c.top_p] for c in choices])
    probabilities = torch.softmax(scaled, dim=-1)
    # A token stays while the mass before it is below top_p, so the first one always stays.
    before = probabilities.cumsum(dim=-1) - probabilities
    return scaled.masked_fill((before >= top_p) & (top_p < 1), -torch.inf)
