"""Base and column sizes of all tables. Times are seconds since the epoch (UTC)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import DeclarativeBase

Json = dict[str, Any]
JsonList = list[Any]
DEBATE_ID = 40
NAME = 128
DIGEST = 64
WORD = 32


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {Json: JSON, JsonList: JSON}  # noqa: RUF012
