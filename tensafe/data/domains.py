"""The field of knowledge of texts, by a lexicon that anyone can read and correct.

`domain_terms/NAME.txt` lists the terms of each field with weight 5 or 3 (hardly used elsewhere) or
1 (used more often than elsewhere). A passage's score for a field is the sum over its terms of
weight * log2(1 + count); the confidence is the field's share of all squared scores, with a fixed
share for `general`, so that a few stray terms decide nothing. It is a share, not a probability.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensafe.data.analysis import Analysis

GENERAL = "general"
DOMAINS = (
    GENERAL, "customer support", "medical", "legal", "finance", "software", "security", "education",
    "science",
)  # fmt: skip
# Below this share, little more than a third, the answer is `general`.
LOW_CONFIDENCE = 0.35
# The score that `general` has in every passage: two terms of weight 3 outweigh it.
_PRIOR = 4.0
_PASSAGE_CHARS = 1500
_SHOWN_TERMS = 8
_WORD = re.compile(r"[a-z0-9][a-z0-9'.+]*")
_LONGEST = 4


@dataclass(frozen=True)
class DomainGuess:
    """A field with the reasons for it.

    `confidence` is its share (0 to 1) of `shares`; `evidence` holds the terms that counted most
    for it, heaviest first; `passages` is how many passages were looked at.
    """

    domain: str
    confidence: float
    evidence: tuple[str, ...]
    shares: Mapping[str, float]
    passages: int


UNKNOWN = DomainGuess(GENERAL, 0.0, (), {}, 0)


def classify_domain(source: Analysis | str | Iterable[str]) -> DomainGuess:
    """The field of an analysed data set, of one text, or of several texts taken together.

    Short texts are joined to passages of about 1,500 characters; every passage counts alike. Texts
    without a word that the lexicon could know give `general` with confidence 0 and no passages.
    """
    if isinstance(source, str):
        return _classify([source])
    if isinstance(source, Iterable):
        return _classify(source)
    return source.domain


def _classify(texts: Iterable[str]) -> DomainGuess:
    totals: defaultdict[str, float] = defaultdict(float)
    weights: dict[str, Counter[str]] = {name: Counter() for name in DOMAINS}
    passages = 0
    for passage in _passages(texts):
        scores, terms = _scores(passage)
        passages += 1
        for name, share in _shares(scores).items():
            totals[name] += share
        for name, counted in terms.items():
            weights[name].update(counted)
    if not passages:
        return UNKNOWN
    shares = {name: round(totals[name] / passages, 4) for name in DOMAINS}
    best = max(DOMAINS, key=lambda name: shares[name])
    domain = best if shares[best] >= LOW_CONFIDENCE else GENERAL
    evidence = sorted(weights[domain].items(), key=lambda item: (-item[1], item[0]))
    return DomainGuess(
        domain,
        shares[domain],
        tuple(term for term, _ in evidence[:_SHOWN_TERMS]),
        shares,
        passages,
    )


def _passages(texts: Iterable[str]) -> Iterator[str]:
    """Texts cut or joined to passages of like size, without those that hold no word."""
    waiting = ""
    for text in texts:
        waiting = f"{waiting}\n{text}" if waiting else text
        while len(waiting) >= 2 * _PASSAGE_CHARS:
            cut = waiting.rfind(" ", 0, _PASSAGE_CHARS)
            cut = cut if cut > 0 else _PASSAGE_CHARS
            yield waiting[:cut]
            waiting = waiting[cut:]
        if len(waiting) >= _PASSAGE_CHARS:
            yield waiting
            waiting = ""
    if _words(waiting):
        yield waiting


def _scores(text: str) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Each field's score in a passage, and the weight of each of its terms there."""
    counts = Counter(_grams(_words(text)))
    terms: dict[str, dict[str, float]] = {name: {} for name in DOMAINS}
    lexicon = _lexicon()
    for gram, count in counts.items():
        for name, weight in lexicon.get(gram, ()):
            terms[name][_spelled()[gram]] = weight * math.log2(1 + count)
    return {name: sum(found.values()) for name, found in terms.items()}, terms


def _shares(scores: Mapping[str, float]) -> dict[str, float]:
    squares = {name: score**2 for name, score in scores.items()}
    squares[GENERAL] = (scores[GENERAL] + _PRIOR) ** 2
    total = sum(squares.values())
    return {name: square / total for name, square in squares.items()}


def _words(text: str) -> list[str]:
    lowered = text.lower().replace("’", "'")
    return [_singular(word.rstrip(".'")) for word in _WORD.findall(lowered)]


def _singular(word: str) -> str:
    """A plural without its ending, alike for terms and texts, so that both forms meet."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _grams(words: list[str]) -> Iterator[str]:
    for length in range(1, _LONGEST + 1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


@lru_cache(maxsize=1)
def _listed() -> tuple[tuple[str, float, str], ...]:
    """Every entry of the term files: field, weight, term as it is written there."""
    found: list[tuple[str, float, str]] = []
    folder = files("tensafe.data") / "domain_terms"
    for name in DOMAINS:
        text = (folder / f"{name.replace(' ', '_')}.txt").read_text(encoding="utf-8")
        for line in text.splitlines():
            if line and not line.startswith("#"):
                weight, _, listed = line.partition(":")
                terms = filter(None, map(str.strip, listed.split(",")))
                found += [(name, float(weight), term) for term in terms]
    return tuple(found)


@lru_cache(maxsize=1)
def _spelled() -> dict[str, str]:
    """The form in which a term is compared -> the form in which it is shown."""
    return {" ".join(_words(term)): term for _, _, term in _listed()}


@lru_cache(maxsize=1)
def _lexicon() -> dict[str, tuple[tuple[str, float], ...]]:
    """Term -> (field, weight); a term of several fields has its weight divided among them."""
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for name, weight, term in _listed():
        fields = found[" ".join(_words(term))]
        fields[name] = max(weight, fields.get(name, 0.0))
    return {
        term: tuple((name, weight / len(fields)) for name, weight in fields.items())
        for term, fields in found.items()
    }
