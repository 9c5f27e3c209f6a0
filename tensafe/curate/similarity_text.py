"""What of an example is compared when near-duplicates are looked for.

Always what the user says. Instructions that many examples share word for word are taken off
first: under a long common instruction, any two short messages would look the same. For long
answers the whole exchange is compared as well, because a model that has learned an answer by heart
gives it to any wording of the question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tensafe.curate.text import plain
from tensafe.data.records import Example

_SHARED_BY = 20
_MIN_SHARED_CHARS = 24
_LONG_ANSWER_CHARS = 80


def asked(example: Example) -> str:
    """All that the user says; for prose, the passage itself."""
    said = [turn["content"] for turn in example.prompt if turn["role"] == "user"]
    return "\n".join(said) or example.reference


def comparison_texts(examples: Sequence[Example]) -> list[str]:
    """For each example the plain text to compare, without instructions that many share."""
    raw = [asked(example) for example in examples]
    heads = Counter(head for text in raw if (head := _head(text)))
    tails = Counter(tail for text in raw if (tail := _tail(text)))
    return [plain(_without_shared(text, heads, tails)) for text in raw]


def exchange_texts(examples: Sequence[Example]) -> tuple[list[int], list[str]]:
    """Positions of the examples with a long answer, and the plain text of their exchange."""
    positions = [
        position
        for position, example in enumerate(examples)
        if example.kind != "text" and len(example.reference) >= _LONG_ANSWER_CHARS
    ]
    texts = [plain(f"{asked(examples[p])}\n{examples[p].reference}") for p in positions]
    return positions, texts


def _head(text: str) -> str:
    """The first line, or what stands before the first colon in it."""
    line, newline, rest = text.partition("\n")
    if newline and rest.strip():
        return line + newline if len(line) >= _MIN_SHARED_CHARS else ""
    before, colon, after = line.partition(": ")
    return before + colon if after.strip() and len(before) >= _MIN_SHARED_CHARS else ""


def _tail(text: str) -> str:
    rest, newline, line = text.rpartition("\n")
    return newline + line if rest.strip() and len(line) >= _MIN_SHARED_CHARS else ""


def _without_shared(text: str, heads: Counter[str], tails: Counter[str]) -> str:
    head, tail = _head(text), _tail(text)
    kept = text
    if head and heads[head] >= _SHARED_BY:
        kept = kept[len(head) :]
    if tail and tails[tail] >= _SHARED_BY and kept.endswith(tail):
        kept = kept[: len(kept) - len(tail)]
    return kept if kept.strip() else text
