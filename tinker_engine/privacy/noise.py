"""Standard normal numbers from the operating system's secure random source."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
import numpy.typing as npt


class NoiseSource(Protocol):
    """Where noise comes from; anything but `SecureNoise` is for tests."""

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        """Independent standard normal numbers (size,)."""
        ...


class SecureNoise:
    """Box-Muller transform, in fp64, of 53-bit uniform numbers from os.urandom."""

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        pairs = (size + 1) // 2
        bits = np.frombuffer(os.urandom(16 * pairs), dtype=np.uint64) >> np.uint64(11)
        # In (0, 1], so that the logarithm is finite.
        uniform = (bits.astype(np.float64) + 1.0) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(uniform[:pairs]))
        angle = (2.0 * np.pi) * uniform[pairs:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]
