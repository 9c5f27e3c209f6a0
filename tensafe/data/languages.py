"""The language of texts, told only where they are long enough to show it.

Short texts are guessed badly by every identifier: those under `MINIMUM_LETTERS` are counted as
`short`, and those whose best language is not clear (code, tables, mixtures) as `unclear`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any

MINIMUM_LETTERS = 60
SHORT, UNCLEAR = "short", "unclear"
_CLEAR = 0.7
# What py3langid calls text without a language (numbers, markup).
_NO_LANGUAGE = ("zxx", "und")
_READ_CHARS = 2000
_NOT_LETTERS = re.compile(r"[\d_]+|[^\w']+")


def language_of(text: str) -> str:
    """ISO 639-1 code of the text's language, or `short` or `unclear`."""
    # Digits and signs belong to no language, and in tables they outweigh the words.
    part = _NOT_LETTERS.sub(" ", text[:_READ_CHARS])
    # One ideograph says about as much as three letters of an alphabet.
    letters = sum((3 if char >= "\u2e80" else 1) for char in part if char != " ")
    if letters < MINIMUM_LETTERS:
        return SHORT
    language, confidence = _identifier().classify(part)
    return language if confidence >= _CLEAR and language not in _NO_LANGUAGE else UNCLEAR


def count_languages(texts: Iterable[str]) -> Counter[str]:
    """Number of texts by language, `short` and `unclear` among them."""
    return Counter(language_of(text) for text in texts)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    package: Any = import_module("py3langid.langid")
    return package.LanguageIdentifier.from_model_file(package.MODEL_FILE, norm_probs=True)
