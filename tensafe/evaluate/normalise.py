"""Text forms under which two answers count as the same.

Owns normalisation and tokens for scoring. Numbers keep their sign and decimal point and lose
their thousands separators; case, blanks and the punctuation of sentences do not count, nor do
English articles before a word. Marks that belong to a name or an expression do: C# is not C, A*
not A, 2/3 not 2-3, and != not =.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_ARTICLES = frozenset({"a", "an", "the"})
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# En dash and minus sign where they stand for a minus; the fraction slash is what NFKC makes of a
# vulgar fraction.
_MINUS = re.compile(r"[\u2013\u2212](?=\.?\d)")
_FRACTION_SLASH = "\u2044"
_BLANKS = re.compile(r"[ \t]+")
_PERCENT = re.compile(r"(?<=\d) %")
# Markdown's emphasis, and the slashes of a date, say nothing.
_EMPHASIS = re.compile(r"(?<!\w)(\*{1,3})(?=[^\s*])([^*\n]*?[^\s*])\1(?!\w)")
_DATE = re.compile(r"(?<![\d/])(\d{1,4})/(\d{1,2})/(\d{1,4})(?![\d/])")
_KEPT_MARK = re.compile(
    r"(?<=\d)\.(?=\d)"  # 1.5
    r"|(?<![\w.])-\.?(?=\d)"  # -5, -.5
    r"|(?<=\d)%"  # 5%
    r"|!(?==)|(?<![\w!])!(?=[a-z0-9])"  # !=, !x
    r"|(?<=[a-z0-9])[#*](?![\w#*])"  # C#, A*
    r"|(?<!\w)[#@](?=[a-z])"  # #tag, @name
)
# Between two words, with blanks on both sides or on none.
_OPERATOR = re.compile(
    r"(?<=[^\W_])[*/&@%](?=[^\W_])|(?<=[^\W_] )[*/&@%](?= [^\W_])",
)
_OPERATORS = frozenset("*/&@%")
# What joins the parts of one word: an article in it is before another word, but A-B is no article.
_JOINT = re.compile(r"(?<=\w)(?<!(?<![\w-])a)[-_](?=\w)")
# After blanks these part an article from the next word as they do right behind it.
_STOPS = frozenset(",.;:?!-/)]}\u2013\u2014\u2026")
_APOSTROPHES = re.compile("['\u2019\u02bc`\u00b4]")
# Scripts without blanks between words: each character stands for itself in token F1.
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


@lru_cache(maxsize=65536)
def words(text: str) -> tuple[str, ...]:
    """The words and operators that count, in order, in NFKC and lower case.

    An answer made of punctuation alone keeps it, so that it is not equal to every other such
    answer.
    """
    return tuple(piece.rstrip(",") or piece for piece in _pieces(text))


@lru_cache(maxsize=65536)
def normalised(text: str) -> str:
    """`words` joined by blanks: equal strings are equal answers.

    A comma stands behind a letter that only looks like an article, as in "A, B"; so the form of a
    form is itself.
    """
    return " ".join(_pieces(text))


def _pieces(text: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    plain = _BLANKS.sub(" ", _APOSTROPHES.sub("", folded).replace(_FRACTION_SLASH, "/"))
    plain = _THOUSANDS.sub("", _MINUS.sub("-", _EMPHASIS.sub(r"\2", plain)))
    plain = _DATE.sub(r"\1 \2 \3", _PERCENT.sub("%", plain))
    pieces: list[str] = []
    is_parted: list[bool] = []
    for piece in _UNSPACED.sub(r" \1 ", _without_marks(plain)).split():
        core = piece.rstrip(",")
        if core:
            pieces.append(core)
            is_parted.append(core != piece)
        elif pieces:
            is_parted[-1] = True
    counted: list[str] = []
    for place, piece in enumerate(pieces):
        after = pieces[place + 1] if place + 1 < len(pieces) else ""
        is_operand = bool(counted) and counted[-1] in _OPERATORS
        before_word = after[:1].isalnum() or (any(map(str.isalnum, after)) and not is_operand)
        if piece not in _ARTICLES or not before_word:
            counted.append(piece)
        elif is_parted[place]:
            counted.append(f"{piece},")
    return tuple(counted) or tuple(folded.split())


def _without_marks(text: str) -> str:
    """The text with a blank for each mark that doesn't count; a comma says that it parts words."""
    kept = {place for match in _KEPT_MARK.finditer(text) for place in range(*match.span())}
    operators = {match.start() for match in _OPERATOR.finditer(text)}
    joints = {match.start() for match in _JOINT.finditer(text)}
    out: list[str] = []
    for place, char in enumerate(text):
        if place in kept or not unicodedata.category(char).startswith("P"):
            out.append(char)
        elif place in operators:
            out.append(f" {char} ")
        elif place in joints:
            out.append(" ")
        else:
            is_tight = bool(out) and not out[-1][-1].isspace()
            out.append(", " if is_tight or char in _STOPS else " ")
    return "".join(out)
