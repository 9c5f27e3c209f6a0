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


def record_runs(
    examples: Iterable[Example],
    wanted: Collection[Run],
    *,
    size: int,
    common: int,
    quotable: Collection[str],
) -> RecordRuns:
    """Which of the `wanted` runs stand in training answers without being common text.

    One pass over the data; memory is bounded by the number of wanted runs.
    """
    counts: dict[Run, int] = {}
    holders: dict[Run, Example] = {}
    excused: set[Run] = set()
    seen: set[str] = set()
    for example in examples:
        key = " ".join(run_words(example.reference))
        # The same answer to another question counts again; the same example twice does not.
        identity = f"{key}\n{example.prompt[-1]['content'] if example.prompt else ''}"
        if identity in seen:
            continue
        seen.add(identity)
        for run in set(runs_of(key.split(" "), size)):
            if run not in wanted:
                continue
            if example.source in quotable:
                excused.add(run)
            counts[run] = counts.get(run, 0) + 1
            holders.setdefault(run, example)
    kept = {
        run: example
        for run, example in holders.items()
        if counts[run] < common and run not in excused
    }
    return RecordRuns(size, kept)
