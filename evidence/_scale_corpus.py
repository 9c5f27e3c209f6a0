"""Made-up support tickets in any number: varied words, with exact and near-duplicates planted.

A fixed seed gives the same file on every machine. Words are drawn from 24,000 made-up ones with
frequencies that fall as 1/rank, as in real text, between the fixed words of a dozen openings.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EXACT_SHARE, NEAR_SHARE = 0.05, 0.05
_WORDS, _CHUNK, _LONGEST = 24_000, 10_000, 18
_ONSETS = [*"bcdfghlmnprstvw", "st", "tr", "pl", "gr", "ch", "sh", "th"]
_VOWELS = [*"aeiou", "ea", "ou", "ai"]
_CODAS = ["", "n", "r", "s", "l", "t", "nd", "rm", "ck", "st"]
_OPENINGS = [
    "Since yesterday my", "Please tell me why the", "I can't open the", "We were charged for a",
    "How do I change the", "The new", "My order of the", "Nobody answered about the",
    "After the update the", "Could you cancel my", "There is no", "Who looks after the",
]  # fmt: skip
_REPLIES = [
    "Thank you for writing. We have looked at the", "Sorry about that: the", "Please restart the",
    "Your colleague already reset the", "We will send a new", "That depends on the",
]  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """A written file, and what was planted: positions of original and copy, counted from 0."""

    path: Path
    rows: int
    exact: tuple[tuple[int, int], ...]
    near: tuple[tuple[int, int], ...]

    def write_plan(self) -> None:
        """What was planted, in a file beside the corpus."""
        self.path.with_suffix(".plan").write_text(json.dumps([self.exact, self.near]))


def read_plan(path: Path) -> tuple[list[list[int]], list[list[int]]]:
    """The planted exact and near copies of the corpus at `path`."""
    exact, near = json.loads(path.with_suffix(".plan").read_text())
    return exact, near


def write_corpus(path: Path, rows: int, seed: int = 11) -> Corpus:
    """A CSV of `rows` tickets with columns `question` and `answer`."""
    rng = random.Random(seed)
    originals = _originals(rng, _vocabulary(rng), seed)
    recent: list[tuple[int, str, str]] = []
    exact: list[tuple[int, int]] = []
    near: list[tuple[int, int]] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("question", "answer"))
        for position in range(rows):
            draw = rng.random()
            if recent and draw < EXACT_SHARE:
                origin, question, answer = rng.choice(recent)
                exact.append((origin, position))
            elif recent and draw < EXACT_SHARE + NEAR_SHARE:
                origin, question, answer = rng.choice(recent)
                question = _mistype(question, rng)
                near.append((origin, position))
            else:
                question, answer = next(originals)
                _remember(recent, (position, question, answer), rng)
            writer.writerow((question, answer))
    return Corpus(path, rows, tuple(exact), tuple(near))


def _vocabulary(rng: random.Random) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < _WORDS:
        parts = rng.choice((1, 2, 2, 3))
        found["".join(_syllable(rng) for _ in range(parts))] = None
    return list(found)


def _syllable(rng: random.Random) -> str:
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)


def _originals(rng: random.Random, words: list[str], seed: int) -> Iterator[tuple[str, str]]:
    """Questions with answers without end."""
    draws = np.random.Generator(np.random.PCG64(seed))
    sums = np.cumsum(1 / (np.arange(len(words)) + 8))
    while True:
        places = np.searchsorted(sums, draws.random((_CHUNK, 2 * _LONGEST)) * sums[-1])
        for row in places.tolist():
            said = [words[place] for place in row]
            question = " ".join(said[: rng.randint(8, _LONGEST)])
            answer = " ".join(said[_LONGEST : _LONGEST + rng.randint(6, 16)])
            yield (
                f"{rng.choice(_OPENINGS)} {question} {rng.randrange(10**6)}?",
                f"{rng.choice(_REPLIES)} {answer}.",
            )


def _mistype(text: str, rng: random.Random) -> str:
    """One letter doubled, dropped or exchanged, away from both ends."""
    place = rng.randrange(4, len(text) - 8)
    put = rng.choice((text[place] * 2, "", rng.choice("aeioust")))
    return text[:place] + put + text[place + 1 :]


def _remember(
    recent: list[tuple[int, str, str]], row: tuple[int, str, str], rng: random.Random
) -> None:
    """Keeps 20,000 originals from all over the file, so that copies stand far from them."""
    if len(recent) < 20_000:
        recent.append(row)
    else:
        recent[rng.randrange(len(recent))] = row
