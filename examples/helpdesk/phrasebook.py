"""The phrase files: what people write about, by the team ("queue") that takes care of it.

A phrase file has three sections, one pattern per line:

- ``[clauses]``  a whole statement ("the charger blinks red"),
- ``[actions]``  what somebody wants to do ("get a spare key"),
- ``[topics]``   a noun phrase ("a late parcel").

In a pattern ``{a|b|}`` is a choice (an empty branch is allowed, choices nest) and ``<name>`` is a
slot filled from the case at hand (its value may hold choices of its own). All randomness arrives
as a `Dice`, so the same seed gives the same words on every machine and Python version.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: File stem of the phrase file -> the queue's name, and how many of 1,000 messages it gets.
QUEUES: Mapping[str, tuple[str, int]] = {
    "battery_bench": ("Battery Bench", 185),
    "repair_barn": ("Repair Barn", 175),
    "freight_desk": ("Freight Desk", 155),
    "app_studio": ("App Studio", 140),
    "invoice_room": ("Invoice Room", 130),
    "lock_watch": ("Lock Watch", 110),
    "staff_house": ("Staff House", 105),
}

PHRASES = Path(__file__).resolve().parent / "phrases"
SECTIONS = ("clauses", "actions", "topics")
_INNERMOST = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"<(\w+)>")


class Dice:
    """A seeded source of choices that uses only `random.Random.random`, which is stable."""

    def __init__(self, seed: int) -> None:
        """The same seed gives the same choices."""
        self._source = random.Random(seed)

    def below(self, limit: int) -> int:
        """A whole number in [0, limit)."""
        return int(self._source.random() * limit)

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.below(len(options))]

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._source.random() < probability

    def weighted(self, options: Sequence[tuple[T, int]]) -> T:
        """One of the options, each with its whole-number weight."""
        left = self.below(sum(weight for _, weight in options))
        for option, weight in options:
            if left < weight:
                return option
            left -= weight
        raise ValueError("weights must be positive")

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a random order (Fisher-Yates)."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result


@dataclass(frozen=True)
class Phrasebook:
    """The patterns of one queue, by section."""

    queue: str
    weight: int
    patterns: Mapping[str, tuple[str, ...]]


def expand(pattern: str, slots: Mapping[str, str], dice: Dice) -> str:
    """The pattern with every choice made and every slot filled, spaces tidied.

    Raises:
        KeyError: the pattern names a slot that the case does not have.
    """
    text = _SLOT.sub(lambda slot: slots[slot.group(1)], pattern)
    while "{" in text:
        text = _INNERMOST.sub(lambda choice: dice.pick(choice.group(1).split("|")), text)
    return re.sub(r"\s+([.,!?])", r"\1", " ".join(text.split()))


def read_phrasebook(path: Path) -> Phrasebook:
    """The phrase file at `path`.

    Raises:
        ValueError: a line stands outside the three sections, or a section is empty.
    """
    queue, weight = QUEUES[path.stem]
    patterns: dict[str, list[str]] = {section: [] for section in SECTIONS}
    section = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
        elif section in patterns:
            patterns[section].append(line)
        else:
            raise ValueError(f"{path.name}, line {number}: no section; expected one of {SECTIONS}")
    empty = [name for name, lines in patterns.items() if not lines]
    if empty:
        raise ValueError(f"{path.name}: the sections {empty} have no pattern")
    return Phrasebook(queue, weight, {name: tuple(lines) for name, lines in patterns.items()})


def read_phrasebooks() -> list[Phrasebook]:
    """All phrase files, in the order of `QUEUES`."""
    return [read_phrasebook(PHRASES / f"{stem}.txt") for stem in QUEUES]
