"""Cleans text without changing what it says, and reduces it to a form for comparing.

Two forms. The *clean* form is what is trained on. The *plain* form decides whether two texts are
the same but for case, spacing and the punctuation of sentences; it keeps digits, signs and
everything inside a word, so `2+3`, `2-3` and `2.3` stay three different things.
"""

from __future__ import annotations

import re
import unicodedata

# Control characters but tab and newline, the byte order mark, and lone surrogates.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_BREAKS = re.compile("\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_TRAILING_SPACE = re.compile(r"[ \t\u00a0\u200b]+(?=\n|$)")
_MANY_BREAKS = re.compile(r"\n{4,}")
# Sentence punctuation where a word begins or ends; never inside a number or a word.
_BEFORE_WORD, _AFTER_WORD = "\"'“”‘’«»(¿¡", ".,;:!?…\"'“”‘’«»)"


def clean(text: str) -> str:
    """The text in NFC, trimmed, with plain line breaks and without control characters."""
    if text.isascii() and text.isprintable():
        return text.strip()
    text = _LINE_BREAKS.sub("\n", text)
    text = _SURROGATE.sub("\ufffd", text)
    text = _CONTROL.sub("", text)
    text = unicodedata.normalize("NFC", text)
    text = _TRAILING_SPACE.sub("", text)
    return _MANY_BREAKS.sub("\n\n\n", text).strip()


def plain(text: str) -> str:
    """The form in which texts that differ in case, spacing or sentence punctuation agree."""
    words = unicodedata.normalize("NFC", text.casefold()).split()
    bare = [word.lstrip(_BEFORE_WORD).rstrip(_AFTER_WORD) for word in words]
    return " ".join(filter(None, bare)) or " ".join(text.casefold().split())


def says_something(plain_text: str) -> bool:
    """Whether a plain form holds more than sentence punctuation, so that forms can be joined."""
    return bool(plain_text.strip(_BEFORE_WORD + _AFTER_WORD + " "))
