"""Rotary factors by position, read from a model's own rotary module as far as they are needed.

A table over the whole context of a long-context model would be hundreds of megabytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

FIRST_LENGTH = 1024


class RotaryFactors(NamedTuple):
    """Cosines and signed sines (rows, d) fp32 of one head; minus in its lower half."""

    cos: Tensor
    sin: Tensor


class RotaryTable:
    """Grows by doubling. `arguments` choose among the rotations of a model that has several."""

    def __init__(self, rotary: Any, *arguments: str) -> None:
        self._rotary = rotary
        self._arguments = arguments
        self._factors = self._read(FIRST_LENGTH)

    def at(self, positions: Tensor) -> RotaryFactors:
        """Factors at positions (rows,)."""
        needed = int(positions.max()) + 1
        if needed > len(self._factors.cos):
            self._factors = self._read(max(needed, 2 * len(self._factors.cos)))
        return RotaryFactors(self._factors.cos[positions], self._factors.sin[positions])

    def _read(self, length: int) -> RotaryFactors:
        # What sampling adds to the table is read by training too.
        with torch.inference_mode(mode=False), torch.no_grad():
            positions = torch.arange(length)[None]
            cos, sin = self._rotary(torch.zeros(1, 1, 1), positions, *self._arguments)
            signed = sin[0].clone()
            signed[:, : signed.shape[1] // 2].neg_()
            return RotaryFactors(cos[0].clone(), signed)
