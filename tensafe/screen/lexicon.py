"""Words and patterns of abuse and of judgement, read from `suites/lexicon.jsonl`.

Slurs and profanities are stored as hashes of their normalised form, so that the repository does
not print them; `python -c "from tensafe.screen.lexicon import word_hash; ..."` makes one.
Matching is on whole words after undoing letter substitutions and repetitions.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from tensafe.errors import ScreeningError

Category = Literal["slur", "profanity", "threat", "hate", "dismissal", "insult"]
_LEET = str.maketrans("013457@$!", "oieastasi")
_TOKEN = re.compile(r"[a-z0-9@$!'’]+")
_REPEAT = re.compile(r"(.)\1{2,}")
_MASKED = re.compile(r"\b[a-z]+\*+[a-z]+\b|\b[a-z]\*{2,}")
_SUFFIXES = ("", "s", "es", "ed", "er", "ers", "ing", "y", "ish")
_YOU = frozenset({"you", "your", "youre", "u", "ur", "yourself"})
# How far before an insult its addressee may stand ("you are such a complete ...").
_REACH = 5


@dataclass(frozen=True)
class Hit:
    """One match: its category and what matched (a hash prefix for masked words)."""

    category: Category
    matched: str


@dataclass(frozen=True)
class Lexicon:
    """The entries by kind; build it with `load_lexicon`."""

    hashes: Mapping[str, Category]
    patterns: tuple[tuple[Category, re.Pattern[str]], ...]
    insults: frozenset[str]
    positive: frozenset[str]
    negative: frozenset[str]

    def strong_hits(self, text: str) -> tuple[Hit, ...]:
        """Slurs, profanities, threats, hate, dismissals, and insults aimed at the reader."""
        folded = fold(text)
        hits = [
            Hit(category, match.group(0))
            for category, pattern in self.patterns
            if (match := pattern.search(folded))
        ]
        hits.extend(Hit("profanity", match.group(0)) for match in _MASKED.finditer(folded))
        tokens = tokens_of(folded)
        for place, token in enumerate(tokens):
            digest = self._hash_of(token)
            if digest is not None:
                hits.append(Hit(self.hashes[digest], digest[:8]))
            elif self._is_insult(token) and _is_aimed(tokens, place):
                hits.append(Hit("insult", token))
        return tuple(hits)

    def weak_hits(self, text: str) -> tuple[Hit, ...]:
        """Words of insult wherever they stand: they need a second signal."""
        tokens = tokens_of(fold(text))
        return tuple(Hit("insult", token) for token in tokens if self._is_insult(token))

    def polarity(self, text: str) -> float:
        """(positive - negative) / (positive + negative) words, in [-1, 1]; 0 without either.

        A negation right before a word turns it round.
        """
        total = count = 0
        previous = ""
        for token in tokens_of(fold(text)):
            sign = (token in self.positive) - (token in self.negative)
            if sign:
                total += -sign if previous in ("not", "never", "no", "hardly") else sign
                count += 1
            previous = token
        return total / count if count else 0.0

    def _hash_of(self, token: str) -> str | None:
        for suffix in _SUFFIXES:
            if suffix and not token.endswith(suffix):
                continue
            stem = token[: len(token) - len(suffix)]
            digest = word_hash(stem)
            if digest in self.hashes:
                return digest
        return None

    def _is_insult(self, token: str) -> bool:
        return any(
            token[: len(token) - len(suffix)] in self.insults
            for suffix in ("", "s", "es", "ic")
            if token.endswith(suffix)
        )


def fold(text: str) -> str:
    """NFKC, lower case, one kind of apostrophe, letters repeated at most twice."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return _REPEAT.sub(r"\1\1", plain)


def tokens_of(folded: str) -> list[str]:
    """Words with letter substitutions undone; numbers stay numbers."""
    tokens: list[str] = []
    for raw in _TOKEN.findall(folded):
        token = raw.strip("'!").replace("'", "")
        if any(char.isalpha() for char in token):
            tokens.append(token.translate(_LEET))
        elif token:
            tokens.append(token)
    return tokens


def word_hash(word: str) -> str:
    """First 24 hex digits of the SHA-256 of a normalised word."""
    return hashlib.sha256(word.encode("utf-8")).hexdigest()[:24]


@cache
def load_lexicon() -> Lexicon:
    """Read the lexicon that comes with the package.

    Raises:
        ScreeningError: the file is missing or holds a line that is not an entry.
    """
    hashes: dict[str, Category] = {}
    patterns: list[tuple[Category, re.Pattern[str]]] = []
    stems: dict[str, set[str]] = {"insult": set(), "positive": set(), "negative": set()}
    resource = files("tensafe.screen").joinpath("suites/lexicon.jsonl")
    try:
        for line in resource.read_text(encoding="utf-8").split("\n"):
            if not line.strip():
                continue
            entry: dict[str, str] = json.loads(line)
            category: Category = entry["category"]  # type: ignore[assignment]
            if "sha256" in entry:
                hashes[entry["sha256"]] = category
            elif "pattern" in entry:
                patterns.append((category, re.compile(entry["pattern"])))
            else:
                stems[category].add(entry["stem"])
    except (OSError, ValueError, KeyError, re.error) as error:
        raise ScreeningError(
            f"the lexicon tensafe/screen/suites/lexicon.jsonl can't be read ({error}): "
            "install the package again"
        ) from error
    return Lexicon(
        hashes,
        tuple(patterns),
        frozenset(stems["insult"]),
        frozenset(stems["positive"]),
        frozenset(stems["negative"]),
    )


def _is_aimed(tokens: list[str], place: int) -> bool:
    return len(tokens) <= 2 or not _YOU.isdisjoint(tokens[max(0, place - _REACH) : place])
