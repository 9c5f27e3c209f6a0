"""Asking for swaps: the same calls in the host's own process and from any other.

    from tensafe.gate.swap import request_swap

    record = request_swap("support", [Path("support-2.tgsp")], by="improve", reason="weak spots")
    print(record.state, record.reasons, record.incident)

A `SwapService` is a desk in this process (`SwapDesk`) or the host that serves the slots
(`SwapClient`, found through `TENSAFE_HOME/swaps/control.json`). Nothing here can move a slot by
itself: the host runs the load gate, the red team and the approval on what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tensafe.data.records import Example
from tensafe.gate.live_quality import LiveVerdict
from tensafe.gate.swap_records import (
    Otherwise,
    SlotSettings,
    SwapKind,
    SwapPolicy,
    SwapRecord,
)

__all__ = [
    "LiveVerdict",
    "SlotSettings",
    "SwapPolicy",
    "SwapRecord",
    "SwapService",
    "find_host",
    "request_swap",
    "roll_back",
    "score_live",
    "swap_status",
]


class SwapService(Protocol):
    """What a host of slots does for whoever asks; every method may raise UsageError."""

    def create_slot(
        self,
        name: str,
        *,
        held_out: Sequence[Example],
        safety_prompts: Sequence[str] | None = None,
        policy: SwapPolicy | None = None,
        by: str,
    ) -> SlotSettings:
        """Set up a slot (it answers with the bare base) or change how one is judged.

        What isn't given stays as it is; for a new slot it is no prompts and `SwapPolicy()`.
        """
        ...

    def request(
        self,
        slot: str,
        packages: Sequence[Path],
        *,
        kind: SwapKind = "linear",
        otherwise: Otherwise = "first",
        by: str,
        reason: str = "",
    ) -> SwapRecord:
        """Ask for a change to the adapters in these packages; the examination goes on behind."""
        ...

    def wait(self, swap_id: str, timeout_s: float | None = None) -> SwapRecord:
        """Wait until it is decided or waits for a human (or for `timeout_s`)."""
        ...

    def status(self, swap_id: str) -> SwapRecord:
        """Where a swap stands."""
        ...

    def swaps(self, slot: str | None = None) -> list[SwapRecord]:
        """All swaps, or those of one slot, oldest first."""
        ...

    def decide(self, swap_id: str, document: bytes) -> SwapRecord:
        """Hand in a human's signed verdict (`approval.sign_approval`)."""
        ...

    def roll_back(self, slot: str, *, by: str, reason: str) -> SwapRecord:
        """Undo a slot's last swap."""
        ...

    def score(self, slot: str, digest: str, score: float) -> LiveVerdict:
        """Tell the score in [0, 1] of a live answer with this `x-adapter-digest`."""
        ...

    def slots(self) -> list[dict[str, Any]]:
        """Every slot: where it points, since when, who decided, how it is judged."""
        ...

    def reproduce(self, swap_id: str) -> dict[str, Any]:
        """Examine a decided swap again; both verdicts and all figures."""
        ...


def find_host(home: Path | None = None) -> SwapService:
    """The host that runs for this tensafe home.

    Raises:
        UsageError: none has been started (`tensafe serve`).
        ServerUnavailableError: it doesn't answer.
    """
    from tensafe.gate.swap_client import SwapClient

    return SwapClient.of_home(home)


def request_swap(
    slot: str,
    packages: Sequence[Path],
    *,
    by: str,
    reason: str = "",
    kind: SwapKind | None = None,
    otherwise: Otherwise = "first",
    service: SwapService | None = None,
    timeout_s: float | None = 900.0,
) -> SwapRecord:
    """Ask for a swap and wait until it is decided, or until it waits for a human.

    The record's `state` is then `applied`, `rejected` (with `reasons` and an `incident`),
    `superseded`, or `awaiting_approval`. One package is a linear swap and several are a gated set
    unless `kind` says otherwise.

    Raises:
        UsageError: unknown slot, unusable packages, or no host.
    """
    service = service or find_host()
    kind = kind or ("linear" if len(packages) == 1 else "gated")
    record = service.request(slot, packages, kind=kind, otherwise=otherwise, by=by, reason=reason)
    return service.wait(record.id, timeout_s)


def swap_status(swap_id: str, *, service: SwapService | None = None) -> SwapRecord:
    """Where a swap stands; raises UsageError for an unknown one."""
    return (service or find_host()).status(swap_id)


def roll_back(slot: str, *, by: str, reason: str, service: SwapService | None = None) -> SwapRecord:
    """Undo a slot's last swap; in human mode the record then waits for a signature."""
    return (service or find_host()).roll_back(slot, by=by, reason=reason)


def score_live(
    slot: str, digest: str, score: float, *, service: SwapService | None = None
) -> LiveVerdict:
    """Tell how good a live answer was, in [0, 1]; `digest` is its `x-adapter-digest`.

    The host takes the slot back by itself once live quality has certainly fallen.
    """
    return (service or find_host()).score(slot, digest, score)
