"""The labelled texts in tests/curate/pii_labelled.txt, and how well a finder does on them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

LABELLED = Path(__file__).parent.parent / "tests" / "curate" / "pii_labelled.txt"
_MARK = re.compile(r"⟦(\w+)\|([^⟧]*)⟧")
Span = tuple[str, int, int]


@dataclass(frozen=True)
class LabelledText:
    """A text and the spans (kind, start, end) that are to be found in it."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Score:
    """Counts over spans: a find counts when kind is right and the spans overlap by half or more."""

    found: Counter[str]
    missed: Counter[str]
    false: Counter[str]

    @property
    def recall(self) -> float:
        return self.found.total() / (self.found.total() + self.missed.total())

    @property
    def precision(self) -> float:
        return self.found.total() / (self.found.total() + self.false.total())


def labelled_texts() -> list[LabelledText]:
    """All texts in order of the file."""
    lines = LABELLED.read_text(encoding="utf-8").split("\n")
    return [_parse(line) for line in lines if line and not line.startswith("#")]


def _parse(line: str) -> LabelledText:
    text, spans, done = "", list[Span](), 0
    for match in _MARK.finditer(line):
        text += line[done : match.start()]
        spans.append((match[1], len(text), len(text) + len(match[2])))
        text += match[2]
        done = match.end()
    return LabelledText(text + line[done:], tuple(spans))


def measure(find: Callable[[str], Iterable[Span]], texts: Iterable[LabelledText]) -> Score:
    """The finder's score on the texts."""
    score = Score(Counter(), Counter(), Counter())
    for one in texts:
        open_spans = list(one.spans)
        for given in find(one.text):
            hit = next((span for span in open_spans if _agree(span, given)), None)
            if hit is None:
                score.false[given[0]] += 1
            else:
                open_spans.remove(hit)
                score.found[given[0]] += 1
        score.missed.update(span[0] for span in open_spans)
    return score


def _agree(label: Span, given: Span) -> bool:
    common = min(label[2], given[2]) - max(label[1], given[1])
    longest = max(label[2] - label[1], given[2] - given[1])
    return label[0] == given[0] and common * 2 >= longest
