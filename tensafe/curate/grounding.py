"""Whether a pair that a model wrote says no more than the passage it was written from.

Words are compared without their endings, so that "prices" in the passage supports "price"; a
number has to stand there as it is. The check is one of words, not of meaning: a sentence that
turns the passage's words around passes it, an invented fact doesn't.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import cast

UNGROUNDED = "answer not grounded in its passage"
ABOUT_THE_PASSAGE = "question that can't be understood without its passage"
OFF_TOPIC = "question that shares no word with its passage"
NO_QUESTION = "pair without a question or an answer"
_MAX_CHARS = 2000
_WORD = re.compile(r"[^\W_]+(?:[-’'.,][^\W_]+)*")
_ENDING = re.compile(r"(?:'s|’s|ings?|edly|ed|ers?|es|s|ly|e)$")
_POINTS = re.compile(
    r"\b(?:passage|text|paragraph|excerpt|author|article)\b|\b(?:above|below)\b", re.IGNORECASE
)
_MARKED = re.compile(
    r"(?:^|\n)\W*(?:Q|Question)\s*\d*\s*[:.)]\s*(?P<question>.+?)\s*\n+\W*(?:A|Answer)\s*\d*\s*[:.)]"
    r"\s*(?P<answer>.+?)(?=\n\W*(?:Q|Question)\s*\d*\s*[:.)]|\Z)",
    re.DOTALL,
)
_FUNCTION_WORD = re.compile(
    r"(?:a|about|after|all|also|an|and|any|are|as|at|be|because|been|before|being|between|both"
    r"|but|by|can|could|did|do|does|during|each|either|for|from|had|has|have|having|he|her"
    r"|here|his|how|i|if|in|into|is|it|its|itself|just|may|me|might|more|most|must|my|no"
    r"|nor|not|of|off|on|once|one|only|or|other|our|out|over|own|per|same|she|should|so"
    r"|some|such|than|that|the|their|them|then|there|these|they|this|those|through|to|too"
    r"|under|until|up|very|was|we|were|what|when|where|which|while|who|whom|whose|why|will"
    r"|with|within|would|yes|you|your)"
)


def read_pairs(reply: str) -> list[tuple[str, str]]:
    """Pairs of a model's reply: a JSON array wherever it stands, else `Q:` and `A:` lines."""
    start, end = reply.find("["), reply.rfind("]")
    if 0 <= start < end:
        try:
            entries = cast("object", json.loads(reply[start : end + 1]))
        except (ValueError, RecursionError):
            entries = None
        if isinstance(entries, list):
            found = [_entry(entry) for entry in cast("list[object]", entries)]
            return [pair for pair in found if pair is not None]
    return [(one["question"].strip(), one["answer"].strip()) for one in _MARKED.finditer(reply)]


def _entry(entry: object) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, object]", entry)
    question, answer = fields.get("question"), fields.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        return None
    return question.strip(), answer.strip()


def why_not_grounded(question: str, answer: str, passage: str) -> str | None:
    """Why a pair may not be used, in the words of the report; None for a grounded pair."""
    asked, said = content_words(question), content_words(answer)
    if not asked or not said or max(len(question), len(answer)) > _MAX_CHARS:
        return NO_QUESTION
    if _POINTS.search(question):
        return ABOUT_THE_PASSAGE
    known = frozenset(content_words(passage))
    if not all(word in known for word in said):
        return UNGROUNDED
    return None if any(word in known for word in asked) else OFF_TOPIC


def content_words(text: str) -> Sequence[str]:
    """The words that carry meaning, in lower case and without endings; numbers as they are."""
    words = (match.group(0).casefold() for match in _WORD.finditer(text))
    return [_stem(word) for word in words if not _FUNCTION_WORD.fullmatch(word)]


def _stem(word: str) -> str:
    if any(char.isdigit() for char in word):
        return word
    stem = _ENDING.sub("", re.sub(r"ie[sd]$", "y", word))
    return stem if len(stem) >= 2 else word
