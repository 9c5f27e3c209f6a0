"""Between records and rows: the same field names on both sides, nothing implied."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from aragora.memory.tables import Base

RowT = TypeVar("RowT", bound=Base)
RecordT = TypeVar("RecordT")


def to_row(record: Any, row_type: type[RowT]) -> RowT:
    """A new row with a record's values; an `id` of 0 is left for the database to give."""
    values = {f.name: getattr(record, f.name) for f in fields(record)}
    if values.get("id") == 0:
        del values["id"]
    return row_type(**values)


def from_row(row: Base, record_type: type[RecordT]) -> RecordT:
    """The record that a row holds."""
    names = [f.name for f in fields(record_type)]  # pyright: ignore[reportArgumentType]
    return record_type(**{name: getattr(row, name) for name in names})
