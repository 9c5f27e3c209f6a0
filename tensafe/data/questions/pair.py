"""A question with its answer, as a text holds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A question and its answer as they stood in the text.

    `passage` names what both were taken from when that is more than the pair itself; pairs of one
    passage stay on one side of a split.
    """

    question: str
    answer: str
    place: str
    passage: str = ""
