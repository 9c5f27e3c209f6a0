"""Reading what agents wrote: the answer, a critique's parts, a vote. Nothing is guessed.

What can't be read gives None; the arena says so in the transcript.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

MAX_READ_CHARS = 100_000
MAX_ANSWER_CHARS = 2000
_ANSWER_LINE = re.compile(r"^\W{0,3}(?:final )?answer\W{0,3}:[ \t]*(.+)$", re.I | re.M)
_NO_ISSUE = frozenset({"", "none", "no", "nothing", "n/a", "no issue", "no flaw"})


class CritiqueParts(NamedTuple):
    """Issue and suggestion; an empty issue means that the critic found none."""

    issue: str
    suggestion: str


class VoteParts(NamedTuple):
    """A label and a confidence, each None when it can't be read."""

    choice: str | None
    confidence: float | None


def read_answer(text: str) -> str | None:
    """What stands behind the last `Answer:`, else the whole text; None for nothing at all."""
    text = text[:MAX_READ_CHARS]
    lines = _ANSWER_LINE.findall(text)
    answer = (lines[-1] if lines else text).strip().strip("*`\"' ").strip()
    return answer[:MAX_ANSWER_CHARS] or None


def read_critique(text: str) -> CritiqueParts:
    """Parts of a critique; a text that isn't JSON is its own issue."""
    value = _last_object(text)
    if value is None:
        issue = text[:MAX_ANSWER_CHARS].strip()
        return CritiqueParts("" if _is_none(issue) else issue, "")
    issue, suggestion = str(value.get("issue", "")), str(value.get("suggestion", ""))
    if _is_none(issue):
        return CritiqueParts("", "")
    return CritiqueParts(issue[:MAX_ANSWER_CHARS], suggestion[:MAX_ANSWER_CHARS])


def read_vote(text: str, labels: Sequence[str]) -> VoteParts:
    """The choice and confidence of a JSON object; other forms are not votes.

    A confidence above 1 and up to 100 is a percentage; anything else outside [0, 1] is unreadable.
    """
    value = _last_object(text)
    if value is None:
        return VoteParts(None, None)
    choice = str(value.get("choice", "")).strip().upper()
    return VoteParts(choice if choice in labels else None, _share(value.get("confidence")))


def _share(value: Any) -> float | None:
    if isinstance(value, str):
        value = value.strip().removesuffix("%")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if isinstance(value, bool) or number != number:
        return None
    if 1.0 < number <= 100.0:
        number /= 100.0
    return number if 0.0 <= number <= 1.0 else None


def _is_none(issue: str) -> bool:
    return issue.strip().strip(".").casefold() in _NO_ISSUE


def _last_object(text: str) -> dict[str, Any] | None:
    """The last JSON object in a text that may hold other things around it."""
    text = text[:MAX_READ_CHARS]
    decoder = json.JSONDecoder()
    tries = 0
    for start in reversed([m.start() for m in re.finditer(r"\{", text)][-64:]):
        tries += 1
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and ("choice" in value or "issue" in value):
            return value  # pyright: ignore[reportUnknownVariableType]
    return None
