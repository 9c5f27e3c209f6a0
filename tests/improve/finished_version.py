"""A packaged version in a run folder, made without training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tgsp"))

from finished_run import finished_run

from tensafe.data.records import CurationReport, Dataset, Example, Message
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.packing import pack_run


def example(question: str, answer: str, place: int = 0) -> Example:
    """One question with its answer."""
    turns = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Example(turns, "tickets.csv", f"row {place}", f"tickets.csv:{place}")


def routing_rows(count: int) -> list[Example]:
    """Tickets of two desks."""
    return [
        example(f"Ticket {i}: my card number {i} is lost", "cards", i)
        if i % 2
        else example(f"Ticket {i}: I sent {i} euros to a friend", "transfers", i)
        for i in range(count)
    ]


def packaged_run(folder: Path, *, private: bool = False, rows: Sequence[Example] = ()) -> Path:
    """The run folder, with its package in it."""
    given = list(rows) or routing_rows(60)
    data = Dataset(tuple(given[10:]), tuple(given[:10]), CurationReport(1, 1))
    config = TrainConfig(
        data=Path("tickets.csv"), name="desk", domain="care", dp=private, epsilon=5.0
    )
    finished_run(folder, data, config)
    pack_run(folder, out=None, creator=None, skill_doc=None, passphrase_file=None)
    return folder
