"""Walks through a text once and takes out its glossaries, exercises and tables.

What becomes part of a pair is not given on as prose, so that no text stands on both sides of a
split; what makes no pair is given on unchanged and in order.
"""

from __future__ import annotations

from collections.abc import Iterator

from tensafe.data.boilerplate import REFERENCES
from tensafe.data.items import LeftOut, Paragraph
from tensafe.data.questions.exercises import ExerciseReader
from tensafe.data.questions.glossary import GlossaryReader
from tensafe.data.questions.pair import Pair
from tensafe.data.questions.tables import read_table, table_pairs


def find_structured(
    parts: Iterator[Paragraph | LeftOut],
) -> Iterator[Pair | Paragraph | LeftOut]:
    """Pairs, the paragraphs that belong to none, and what was left out."""
    return _glossaries(_exercises(_tables(parts)))


def _tables(parts: Iterator[Paragraph | LeftOut]) -> Iterator[Pair | Paragraph | LeftOut]:
    for part in parts:
        rows = read_table(part) if isinstance(part, Paragraph) else None
        pairs = list(table_pairs(rows, part)) if rows and isinstance(part, Paragraph) else []
        yield from pairs or [part]


def _glossaries(
    parts: Iterator[Pair | Paragraph | LeftOut],
) -> Iterator[Pair | Paragraph | LeftOut]:
    reader = GlossaryReader()
    for part in parts:
        if isinstance(part, Paragraph):
            taken = reader.take(part)
            if taken is not None:
                yield from taken
        else:
            yield part
    yield from reader.release()


def _exercises(
    parts: Iterator[Pair | Paragraph | LeftOut],
) -> Iterator[Pair | Paragraph | LeftOut]:
    reader = ExerciseReader()
    for part in parts:
        if isinstance(part, Paragraph):
            taken = reader.take(part)
            if taken is not None:
                yield from taken
        else:
            if isinstance(part, LeftOut) and part.reason == REFERENCES:
                yield from reader.release()
            yield part
    yield from reader.close()
