"""Runs of words that outputs share with training records.

A run is `size` consecutive words, compared in lower case without punctuation. A run that stands
in at least `common` distinct training answers is common text (a standard reply, a boilerplate
sentence, a label), not a record; so is everything from sources declared quotable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from tensafe.data.records import Example

_WORD = re.compile(r"\w+(?:['’]\w+)?")
Run = tuple[str, ...]


def run_words(text: str) -> list[str]:
    """The words of a text as runs compare them."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def runs_of(words: list[str], size: int) -> Iterator[Run]:
    """All runs of `size` words, in order."""
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


@dataclass(frozen=True)
class Recital:
    """Words of an output that repeat one record: the longest such run, and where it stands."""

    text: str
    length: int
    source: str
    place: str


@dataclass(frozen=True)
class RecordRuns:
    """The wanted runs that stand in records, each with one record that holds it."""

    size: int
    holders: dict[Run, Example]

    def recital(self, output: str, prompt: str) -> Recital | None:
        """The longest stretch of `output` made of record runs that `prompt` did not give."""
        words = run_words(output)
        given = set(runs_of(run_words(prompt), self.size))
        best: tuple[int, int] = (0, 0)  # (length in words, start)
        start: int | None = None
        for place, run in enumerate(runs_of(words, self.size)):
            if run in self.holders and run not in given:
                start = place if start is None else start
                best = max(best, (place - start + self.size, start), key=lambda b: b[0])
            else:
                start = None
        length, begin = best
        if not length:
            return None
        holder = self.holders[tuple(words[begin : begin + self.size])]
        return Recital(" ".join(words[begin : begin + length]), length, holder.source, holder.place)


@dataclass(frozen=True)
class RunCounts:
    """Of the wanted runs: in how many distinct answers each stands, and one example with it.

    `excused` runs stand in a source that may be quoted.
    """

    counts: dict[Run, int]
    holders: dict[Run, Example]
    excused: frozenset[Run]

    def is_common(self, run: Run, common: int) -> bool:
        """True for text that `common` answers or more share, or that may be quoted."""
        return self.counts.get(run, 0) >= common or run in self.excused


def count_runs(
    examples: Iterable[Example],
    wanted: Collection[Run],
    *,
    size: int,
    quotable: Collection[str] = (),
) -> RunCounts:
    """One pass over the data; memory is bounded by the wanted runs and a digest per example."""
    counts: dict[Run, int] = {}
    holders: dict[Run, Example] = {}
    excused: set[Run] = set()
    seen: set[int] = set()
    for example in examples:
        answer = run_words(example.reference)
        # The same answer to another question counts again; the same example twice does not.
        asked = example.prompt[-1]["content"] if example.prompt else ""
        identity = hash((asked, example.reference))
        if identity in seen:
            continue
        seen.add(identity)
        for run in set(runs_of(answer, size)):
            if run not in wanted:
                continue
            if example.source in quotable:
                excused.add(run)
            counts[run] = counts.get(run, 0) + 1
            holders.setdefault(run, example)
    return RunCounts(counts, holders, frozenset(excused))


def record_runs(
    examples: Iterable[Example],
    wanted: Collection[Run],
    *,
    size: int,
    common: int,
    quotable: Collection[str] = (),
) -> RecordRuns:
    """Which of the `wanted` runs stand in training answers without being common text."""
    found = count_runs(examples, wanted, size=size, quotable=quotable)
    kept = {r: e for r, e in found.holders.items() if not found.is_common(r, common)}
    return RecordRuns(size, kept)


def own_share(words: list[str], counted: RunCounts, *, size: int, common: int) -> float:
    """Share of `words` that no common run covers: near 0 for a filled-in template."""
    covered = [False] * len(words)
    for place, run in enumerate(runs_of(words, size)):
        if counted.is_common(run, common):
            covered[place : place + size] = [True] * size
    return 1.0 - sum(covered) / max(1, len(words))
