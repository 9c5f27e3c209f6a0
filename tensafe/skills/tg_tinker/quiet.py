"""A view for programs that don't want to hear of a run's progress."""

from __future__ import annotations

from tensafe.gate.records import GateRecord
from tinker_engine.recipes.sft import Progress


class QuietView:
    """Takes every event and shows none; the run folder's `events.jsonl` has them."""

    def stage(self, title: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def gate(self, record: GateRecord) -> None:
        """Nothing."""
