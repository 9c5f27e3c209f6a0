"""The order in which one run's requests take effect.

Clients send several requests at once, and they arrive in any order; each carries its place
(`seq_id`, from 1 on). A request is let through when all before it have arrived.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class OrderGate(Generic[T]):
    """Holds items back until their turn; not safe for threads, the caller holds a lock."""

    next_seq: int = 1
    _held: dict[int, T] = field(default_factory=dict)
    _held_since: float = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether items are held back."""
        return bool(self._held)

    def is_past(self, seq_id: int) -> bool:
        """Whether this place was taken before."""
        return seq_id < self.next_seq or seq_id in self._held

    def is_awaited(self, seq_id: int | None) -> bool:
        """Whether items are held back for want of just this place."""
        return bool(self._held) and seq_id == self.next_seq

    def admit(self, seq_id: int | None, item: T) -> list[T]:
        """Add an item; gives those whose turn has come, in order (without a place: at once)."""
        if seq_id is None:
            return [item]
        if not self._held:
            self._held_since = time.monotonic()
        self._held[seq_id] = item
        ready: list[T] = []
        while self.next_seq in self._held:
            ready.append(self._held.pop(self.next_seq))
            self.next_seq += 1
        if ready:
            self._held_since = time.monotonic()
        return ready

    def expire(self, after_s: float) -> tuple[int, list[T]]:
        """Give up on a place that never came: the missing place, and the items held behind it."""
        missing = self.next_seq
        if not self._held or time.monotonic() - self._held_since < after_s:
            return missing, []
        items = [self._held[seq] for seq in sorted(self._held)]
        self.next_seq = max(self._held) + 1
        self._held.clear()
        return missing, items
