"""What of an example is compared when near-duplicates are looked for.

Always what the user says. Instructions that many examples share word for word are taken off
first: under a long common instruction, any two short messages would look the same. For long
answers the whole exchange is compared as well, because a model that has learned an answer by heart
gives it to any wording of the question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tensafe.curate.text import plain
from tensafe.data.records import Example

_SHARED_BY = 20
_MIN_SHARED_CHARS = 24
_LONG_ANSWER_CHARS = 80
_KEY_BYTES = 8
_NO_PART = bytes(_KEY_BYTES)


def asked(example: Example) -> str:
    """All that the user says; for prose, the passage itself."""
    said = [turn["content"] for turn in example.prompt if turn["role"] == "user"]
    return "\n".join(said) or example.reference


def has_long_answer(example: Example) -> bool:
    """Whether the question with its answer is compared as well."""
    return example.kind != "text" and len(example.reference) >= _LONG_ANSWER_CHARS


def comparison_texts(examples: Sequence[Example]) -> list[str]:
    """For each example the plain text to compare, without instructions that many share."""
    raw = [asked(example) for example in examples]
    parts = SharedParts()
    for text in raw:
        parts.add(text)
    heads, tails = parts.shared(np.arange(len(raw)))
    cuts = zip(raw, heads.tolist(), tails.tolist(), strict=True)
    return [plain(without_parts(text, head=head, tail=tail)) for text, head, tail in cuts]


class SharedParts:
    """Heads and tails of texts 0..n-1, to find those that many texts have: 16 bytes a text."""

    def __init__(self) -> None:
        self._heads, self._tails = bytearray(), bytearray()

    def add(self, text: str) -> None:
        """Takes the next text."""
        self._heads += _part_key(_head(text))
        self._tails += _part_key(_tail(text))

    def shared(self, texts: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """For each of `texts`, whether its head, and whether its tail, stands in twenty of them."""
        return _often(self._heads, texts), _often(self._tails, texts)


def without_parts(text: str, *, head: bool, tail: bool) -> str:
    """The text without its head, without its tail; all of it where nothing would be left."""
    kept, last = text, _tail(text)
    if head:
        kept = kept[len(_head(text)) :]
    if tail and kept.endswith(last):
        kept = kept[: len(kept) - len(last)]
    return kept if kept.strip() else text


def _part_key(part: str) -> bytes:
    if not part:
        return _NO_PART
    encoded = part.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=_KEY_BYTES).digest()


def _often(keys: bytearray, texts: NDArray[np.int64]) -> NDArray[np.bool_]:
    mine = np.frombuffer(keys, np.uint64)[texts]
    _, which, counts = np.unique(mine, return_inverse=True, return_counts=True)
    return (mine != 0) & (counts[which] >= _SHARED_BY)


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
