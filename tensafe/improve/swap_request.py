"""The one place at which the loop asks for a change of a live slot.

The host of the slots runs the load gate, the red team and the approval; the loop can ask and wait,
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tensafe.gate.swap import SwapRecord, SwapService, find_host
from tensafe.tgsp import package_digest

SwapVerdict = Literal["applied", "rejected", "waiting"]
ASKER = "watch"
_WAIT_S = 900.0


@dataclass(frozen=True)
class SwapAnswer:
    """Where a swap stands. `waiting` is for a human's approval, or for an examination."""

    verdict: SwapVerdict
    swap_id: str
    reasons: tuple[str, ...] = ()
    incident: str = ""


class SwapDoor(Protocol):
    """How swaps are asked for."""

    def ask_for_swap(self, slot: str, package: Path, reason: str) -> SwapAnswer:
        """Ask for a swap to this package, or find the one that was asked for before."""
        ...

    def look(self, swap_id: str) -> SwapAnswer:
        """Where a swap stands now."""
        ...


class HostDoor:
    """A `SwapDoor` to a host of slots; by default the one of this tensafe home, when asked.

    Its calls raise UsageError when there is no host, or no such slot or swap.
    """

    def __init__(self, host: SwapService | None = None) -> None:
        self._host = host

    def ask_for_swap(self, slot: str, package: Path, reason: str) -> SwapAnswer:
        """Ask, and wait until it is decided or waits for a human."""
        host, digest = self._found(), package_digest(package)
        # A loop that was killed after it had asked finds what it asked for.
        known = [
            record
            for record in host.swaps(slot)
            if record.packages == (digest,) and record.requested_by == ASKER
        ]
        asked = known[-1] if known else host.request(slot, [package], by=ASKER, reason=reason)
        return _answer(host.wait(asked.id, _WAIT_S))

    def look(self, swap_id: str) -> SwapAnswer:
        """Where a swap stands now."""
        return _answer(self._found().status(swap_id))

    def _found(self) -> SwapService:
        if self._host is None:
            self._host = find_host()
        return self._host


def _answer(record: SwapRecord) -> SwapAnswer:
    if record.state == "applied":
        verdict: SwapVerdict = "applied"
    else:
        verdict = "rejected" if record.is_final else "waiting"
    return SwapAnswer(verdict, record.id, record.reasons, record.incident)
