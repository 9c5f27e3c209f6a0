"""Which examples stand in which step.

Not private: seeded permutations, one per epoch, so that any step can be recomputed after a crash.
Private: true Poisson sampling, each example independently with the stated rate. Its key is drawn
from the operating system and is a secret of the run's owner: amplification by sampling holds only
against those who don't know who was drawn.
"""

from __future__ import annotations

import secrets
from typing import Protocol

import numpy as np


class Batches(Protocol):
    """Batch of every step, as a pure function of the step."""

    def at(self, step: int) -> list[int]:
        """Indices of the examples of `step` (from 0); may be empty when drawn."""
        ...


class EpochBatches:
    """Fixed-size batches from one permutation per epoch; the last one of an epoch may be short."""

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.per_epoch = -(-examples // batch_size)

    def at(self, step: int) -> list[int]:
        """Indices of `step`, the same on every call."""
        epoch, position = divmod(step, self.per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.examples)
        start = position * self.batch_size
        return [int(i) for i in order[start : start + self.batch_size]]


class PoissonBatches:
    """Each example joins each step independently with probability `rate` (possibly none)."""

    def __init__(self, examples: int, rate: float, key: int) -> None:
        self.examples = examples
        self.rate = rate
        self.key = key

    @staticmethod
    def new_key() -> int:
        """A fresh 128-bit key from the operating system."""
        return secrets.randbits(128)

    def at(self, step: int) -> list[int]:
        """Indices of `step`, the same on every call with the same key."""
        # Philox is counter-based: a step's stream is a pure function of (key, step).
        generator = np.random.Generator(np.random.Philox(key=self.key, counter=[0, 0, 0, step]))
        drawn = generator.random(self.examples) < self.rate
        return [int(i) for i in np.flatnonzero(drawn)]
