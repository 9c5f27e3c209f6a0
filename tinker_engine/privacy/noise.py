"""Standard normal numbers from a keystream with a fresh secret key from the operating system."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

# Values made at a time: intermediate results then stay in the cache.
BLOCK = 1 << 14


class NoiseSource(Protocol):
    """Where noise comes from; anything but `SecureNoise` is for tests."""

    def normal(self, size: int) -> npt.NDArray[np.float64]:
        """Independent standard normal numbers (size,), in an array that the caller may change."""
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
            content = stream.update(bytes(16 * ((len(place) + 1) // 2)))
            place[:] = _normal(content)[: len(place)]
        return numbers


def _normal(content: bytes) -> npt.NDArray[np.float64]:
    """As many numbers as there are 64-bit words in the content; an even number of them."""
    bits = np.frombuffer(content, dtype=np.uint64) >> np.uint64(11)
    # In (0, 1], so that the logarithm is finite.
    uniform = bits.astype(np.float64)
    uniform += 1.0
    uniform *= 2.0**-53
    pairs = len(uniform) // 2
    radius = np.log(uniform[:pairs])
    radius *= -2.0
    np.sqrt(radius, out=radius)
    # cos and sin of an angle from t, the tangent of its half: one function instead of two, and
    # the one that numpy has the fastest code for. cos = 2 / (1 + t^2) - 1, sin = 2 t / (1 + t^2).
    t = uniform[pairs:]
    t *= np.pi
    np.tan(t, out=t)
    twice = t * t
    twice += 1.0
    np.divide(2.0, twice, out=twice)
    numbers = np.empty_like(uniform)
    t *= twice
    np.multiply(radius, t, out=numbers[pairs:])
    twice -= 1.0
    np.multiply(radius, twice, out=numbers[:pairs])
    return numbers
