"""A view for callers that watch nothing: what happens stands in the logs all the same."""

from __future__ import annotations

from tensafe.gate.records import GateRecord
from tinker_engine.recipes.sft import Progress


class SilentView:
    """A `View` that shows nothing."""

    def stage(self, title: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def gate(self, record: GateRecord) -> None:
        """Nothing."""
