"""A set of text keys that stays small: eight bytes a key, whatever the texts' length.

Two different texts share a key with probability 2^-64; a row lost to that is one in millions of
millions.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tensafe.curate.text import plain

_LEAST_RECENT = 1 << 16
_MOST_SHARE = 8


# A row's words are reduced to their plain form by several filters, one after the other.
plain_form = lru_cache(maxsize=256)(plain)


def key_of(*texts: str) -> int:
    """An unsigned 64-bit key of a sequence of texts, the same in every process."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")


class KeySet:
    """Keys that were seen; new ones gather in a small set that is merged into an array."""

    def __init__(self) -> None:
        self._sorted: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, key: int) -> bool:
        if key in self._recent:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key

    def add(self, key: int) -> bool:
        """Take a key; says whether it is new."""
        if key in self:
            return False
        self._recent.add(key)
        # The limit grows with the whole, so that n keys cost O(n log n) in all.
        if len(self._recent) >= max(_LEAST_RECENT, len(self._sorted) // _MOST_SHARE):
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.concatenate((self._sorted, recent))
            self._sorted.sort()
            self._recent.clear()
        return True
