"""Prompts that were read lately, so that a request that begins alike needn't read them again.

Entries are immutable and belong to one model, by the digest of its adapter. Bounded in bytes; the
one that was of use longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from tinker_engine.runtime.records import IntArray

# Fewer tokens are read as fast as they are found.
SHORTEST = 8


def shared_tokens(ours: IntArray, theirs: IntArray) -> int:
    """How many tokens two sequences have in common at their beginnings."""
    size = min(len(ours), len(theirs))
    differs = ours[:size] != theirs[:size]
    return int(np.argmax(differs)) if differs.any() else size


class PrefixCache:
    """Read prompts by model; used by the compute thread alone."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[int, tuple[str, Any]] = OrderedDict()
        self._next = 0
        self.size_bytes = 0
        self.reused_tokens = 0  # a count for people and monitors

    def longest(self, key: str, tokens: IntArray) -> tuple[Any | None, int]:
        """The prompt of this model that shares the longest beginning, and how many tokens.

        At least one token is always left to be read.
        """
        found: int | None = None
        best = SHORTEST - 1
        for number, (owner, prompt) in self._entries.items():
            if owner == key:
                shared = min(shared_tokens(tokens, prompt.tokens), len(tokens) - 1)
                if shared > best:
                    found, best = number, shared
        if found is None:
            return None, 0
        self._entries.move_to_end(found)
        return self._entries[found][1], best

    def put(self, key: str, prompt: Any) -> None:
        """Keep a prompt that was read; it replaces those that it begins with."""
        if not len(prompt.tokens) >= SHORTEST or prompt.size_bytes > self._limit:
            return
        for number, (owner, other) in list(self._entries.items()):
            if owner == key:
                shared = shared_tokens(prompt.tokens, other.tokens)
                if shared == len(other.tokens):
                    self._remove(number)
                elif shared == len(prompt.tokens):
                    self._entries.move_to_end(number)
                    return
        self._entries[self._next] = (key, prompt)
        self._next += 1
        self.size_bytes += prompt.size_bytes
        while self.size_bytes > self._limit:
            self._remove(next(iter(self._entries)))

    def _remove(self, number: int) -> None:
        _, prompt = self._entries.pop(number)
        self.size_bytes -= prompt.size_bytes
