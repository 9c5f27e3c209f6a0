"""A question with its answer, as a text holds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A question and its answer, as they stood in the text or were made from it.

    `passage` names what both were taken from when that is more than the pair itself; pairs of one
    passage stay on one side of a split. `is_made` tells a question that nobody asks in the text: it
    was made from a heading, a term or the head of a table.
    """

    question: str
    answer: str
    place: str
    passage: str = ""
    is_made: bool = False
