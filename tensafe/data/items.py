"""What every reader gives: rows, paragraphs and the parts that could not be read.

A reader never raises for bad input. It yields what it can read, in file order, and an `Unreadable`
for each part that it can't, so that one bad line costs one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tensafe.data.records import Unreadable


@dataclass(frozen=True)
class Row:
    """One record of a table or a list. `passage` names the text that the record is about."""

    fields: Mapping[str, object]
    place: str
    passage: str = ""


@dataclass(frozen=True)
class Paragraph:
    """One block of running text; lines inside it are separated by a newline.

    `level` is 0 for body text and 1 or more for a heading (1 is the topmost). `section` changes
    where the file itself says that something new starts: a PDF page, for instance.
    """

    text: str
    place: str
    level: int = 0
    section: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A part of a text that is nothing to learn from, and why, in the words of the report."""

    reason: str
    place: str


Item = Row | Paragraph | LeftOut | Unreadable


@dataclass(frozen=True)
class OpenedSource:
    """A file that a reader has recognised: its format, how it is written, and its items."""

    format: str
    detail: str
    items: Iterator[Item]
