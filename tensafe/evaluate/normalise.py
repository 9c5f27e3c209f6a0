"""Text forms under which two answers count as the same.

Owns normalisation and tokens for scoring. Numbers keep their sign and decimal point and lose
their thousands separators; case, punctuation, blanks and English articles do not count.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_ARTICLES = frozenset({"a", "an", "the"})
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# A point between digits and a minus that starts a number carry meaning; other marks do not.
_KEPT_MARK = re.compile(r"(?<=\d)\.(?=\d)|(?<![\w.])-(?=\.?\d)")
_APOSTROPHES = frozenset("'’ʼ`´")
# Scripts without blanks between words: each character stands for itself in token F1.
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


@lru_cache(maxsize=65536)
def words(text: str) -> tuple[str, ...]:
    """The words that count, in order: NFKC, lower case, no punctuation, no articles.

    An answer made of articles or punctuation alone keeps them, so that it is not equal to
    every other such answer.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _THOUSANDS.sub("", folded)
    kept = {match.start() for match in _KEPT_MARK.finditer(folded)}
    out: list[str] = []
    for place, char in enumerate(folded):
        if char in _APOSTROPHES:
            continue
        is_mark = unicodedata.category(char).startswith("P")
        out.append(" " if is_mark and place not in kept else char)
    pieces = _UNSPACED.sub(r" \1 ", "".join(out)).split()
    counted = tuple(piece for piece in pieces if piece not in _ARTICLES)
    return counted or tuple(pieces) or tuple(folded.split())


def normalised(text: str) -> str:
    """`words` joined by single blanks: equal strings are equal answers."""
    return " ".join(words(text))
