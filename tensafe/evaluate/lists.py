"""Structured answers: JSON values, numbered or bulleted lists, and short enumerations."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal, cast

from tensafe.evaluate.normalise import normalised

_FENCE = re.compile(r"\A```[a-z]*\n(.*?)\n?```\Z", re.DOTALL | re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•–]|(?P<number>\d{1,3})[.)])\s+(?P<item>\S.*)$")
_SEPARATOR = re.compile(r"\s*[;,]\s*(?:and\s+|or\s+)?", re.IGNORECASE)
_LAST_AND = re.compile(r"\s+(?:and|or)\s+", re.IGNORECASE)
MAX_ITEM_WORDS = 4
# Words of clauses: a text that holds one is prose with commas, not an enumeration.
_CLAUSE = frozenset(
    {
        "am", "are", "can", "did", "do", "does", "had", "has", "have", "he", "i", "if", "is", "it",
        "must", "our", "please", "she", "should", "thank", "thanks", "that", "they", "this", "was",
        "we", "were", "will", "would", "you", "your",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Items:
    """The normalised members of an enumeration; `is_ordered` for numbered lists."""

    members: tuple[str, ...]
    is_ordered: bool

    def equals(self, other: Items) -> bool:
        """Same members; in the same order when this list (the reference) is numbered."""
        if self.is_ordered:
            return self.members == other.members
        return set(self.members) == set(other.members)


def json_value(text: str) -> tuple[Literal[True], object] | None:
    """(True, value) when `text` is a JSON object or array (a code fence around it is dropped)."""
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    if fenced:
        stripped = fenced[1].strip()
    if not stripped.startswith(("{", "[")):
        return None
    try:
        return True, cast("object", json.loads(stripped))
    except (ValueError, RecursionError):
        return None


def is_same_json(left: object, right: object) -> bool:
    """Equal structure; strings compare normalised, numbers by value, key order does not count."""
    if isinstance(left, dict) and isinstance(right, dict):
        first, second = cast("dict[str, object]", left), cast("dict[str, object]", right)
        return first.keys() == second.keys() and all(
            is_same_json(value, second[key]) for key, value in first.items()
        )
    if isinstance(left, list) and isinstance(right, list):
        ones, others = cast("list[object]", left), cast("list[object]", right)
        return len(ones) == len(others) and all(map(is_same_json, ones, others))
    if isinstance(left, str) and isinstance(right, str):
        return normalised(left) == normalised(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def bulleted(text: str) -> Items | None:
    """The items of a text whose every line is a bullet or a number; None for other texts."""
    lines = [line for line in text.strip().split("\n") if line.strip()]
    matches = [_BULLET.match(line) for line in lines]
    if len(matches) < 2 or any(match is None for match in matches):
        return None
    found = [match for match in matches if match is not None]
    members = tuple(normalised(match["item"]) for match in found)
    return Items(members, is_ordered=all(match["number"] for match in found))


def enumerated(text: str, *, min_items: int = 3) -> Items | None:
    """The items of "red, green and blue" or "a; b"; None for prose.

    Every item has at most four words and nothing in the text ends a sentence before its end.
    """
    stripped = text.strip().rstrip(".")
    if "\n" in stripped or re.search(r"[.!?:]\s", stripped):
        return None
    parts = _SEPARATOR.split(stripped)
    if len(parts) >= 2 or min_items <= 2:
        parts[-1:] = _LAST_AND.split(parts[-1], maxsplit=1)
    members = tuple(normalised(part) for part in parts)
    if len(members) < min_items or not all(members):
        return None
    pieces = [member.split() for member in members]
    if any(len(piece) > MAX_ITEM_WORDS or not _CLAUSE.isdisjoint(piece) for piece in pieces):
        return None
    return Items(members, is_ordered=False)


def items(text: str) -> Items | None:
    """A reference's items: bullets, numbers, or at least three short comma-separated parts."""
    return bulleted(text) or enumerated(text)


def answered_items(text: str) -> Items | None:
    """An answer's items, in whichever layout it wrote them."""
    value = json_value(text)
    if value is not None and isinstance(value[1], list):
        listed = cast("list[object]", value[1])
        if all(isinstance(item, str | int | float) for item in listed):
            return Items(tuple(normalised(str(item)) for item in listed), is_ordered=False)
    return bulleted(text) or enumerated(text, min_items=1)
