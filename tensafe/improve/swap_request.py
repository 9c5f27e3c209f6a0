"""The one place at which the loop asks for a change of a live slot.

The host of the slots runs the load gate, the red team and the approval; the loop can ask and wait,
and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

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
    """A `SwapDoor` to the host that serves the slots of this tensafe home (`tensafe serve`)."""

    def ask_for_swap(self, slot: str, package: Path, reason: str) -> SwapAnswer:
        """Ask, and wait until it is decided or waits for a human.

        Raises:
            UsageError: there is no host, or no such slot.
        """
        from tensafe.gate.swap import find_host, request_swap

        host, digest = find_host(), package_digest(package)
        for known in reversed(host.swaps(slot)):
            if known.packages == (digest,) and known.requested_by == ASKER:
                return _answer(host.wait(known.id, _WAIT_S))
        return _answer(
            request_swap(slot, [package], by=ASKER, reason=reason, service=host, timeout_s=_WAIT_S)
        )

    def look(self, swap_id: str) -> SwapAnswer:
        """Where a swap stands now.

        Raises:
            UsageError: there is no host, or no such swap.
        """
        from tensafe.gate.swap import swap_status

        return _answer(swap_status(swap_id))


def _answer(record: object) -> SwapAnswer:
    from tensafe.gate.swap import SwapRecord

    assert isinstance(record, SwapRecord)
    if record.state == "applied":
        verdict: SwapVerdict = "applied"
    else:
        verdict = "rejected" if record.is_final else "waiting"
    return SwapAnswer(verdict, record.id, record.reasons, record.incident)
