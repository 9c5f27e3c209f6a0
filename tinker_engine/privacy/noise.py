"""Standard normal numbers from a keystream with a fresh secret key from the operating system."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# Values made at a time: intermediate results then stay in the cache.
BLOCK = 1 << 15


class NoiseSource(Protocol):
    """Where noise comes from; anything but `SecureNoise` is for tests."""

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        """Independent standard normal numbers (size,)."""
        ...


class SecureNoise:
    """Box-Muller transform, in fp64, of 53-bit uniform numbers.

    Their bits are AES-256 in counter mode under a key that os.urandom gives for each call and
    nothing keeps: as unpredictable as os.urandom itself, several times faster.
    """

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        key = algorithms.AES(os.urandom(32))
        stream = Cipher(key, modes.CTR(bytes(16))).encryptor()
        numbers = np.empty(size, dtype=np.float64)
        for start in range(0, size, BLOCK):
            place = numbers[start : start + BLOCK]
            place[:] = _normal(stream.update(bytes(16 * ((len(place) + 1) // 2))))[: len(place)]
        return numbers


def _normal(content: bytes) -> npt.NDArray[np.float64]:
    """As many numbers as there are 64-bit words in the content; an even number of them."""
    bits = np.frombuffer(content, dtype=np.uint64) >> np.uint64(11)
    # In (0, 1], so that the logarithm is finite.
    uniform = (bits.astype(np.float64) + 1.0) * 2.0**-53
    pairs = len(uniform) // 2
    radius = np.sqrt(-2.0 * np.log(uniform[:pairs]))
    angle = (2.0 * np.pi) * uniform[pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
