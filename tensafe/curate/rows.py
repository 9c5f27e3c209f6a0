"""The examples being curated: their texts on disk, and in memory only what decides about them.

Equality is decided by keys: 128 bits where a false match would lose an example (a repeat, a
contradiction), 64 bits where it would only put two examples on one side of the split.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tensafe.curate.clusters import Positions
from tensafe.curate.near import text_key
from tensafe.curate.pairs import joined_prompt, pair_key
from tensafe.curate.shingling import Keys
from tensafe.curate.similarity_text import SharedParts, asked, has_long_answer
from tensafe.curate.text import plain, says_something
from tensafe.data.records import Example, ExampleKind
from tensafe.data.stored import ExampleSpill, StoredTexts

KINDS: Final[tuple[ExampleKind, ...]] = ("qa", "chat", "text")
_LABEL_CHARS = 60
_LABEL_SHARED_BY = 5
_CAN_BE_LABEL, _HAS_PROMPT, _HAS_LONG_ANSWER = 1, 2, 4
Flags = NDArray[np.bool_]


class Rows:
    """Examples 0..n-1 in the order they were added; about 200 bytes of memory each."""

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        self.examples = ExampleSpill()
        # Plain texts: what is asked, and question with answer of the rows that have a long one.
        self.asked, self.exchanges = StoredTexts(), StoredTexts()
        self.shared = SharedParts()
        self.source_names: dict[str, int] = {}
        self._digests, self._pairs, self._prompts = bytearray(), bytearray(), bytearray()
        self._answers, self._groups = bytearray(), bytearray()
        self._kinds, self._flags = bytearray(), bytearray()
        self._sources = bytearray()
        for example in examples:
            self.add(example)

    def __len__(self) -> int:
        return len(self.examples)

    def add(self, example: Example) -> None:
        """Takes an example with cleaned texts."""
        turns = [plain(turn["content"]) for turn in example.prompt]
        answer, raw = plain(example.reference), asked(example)
        prompt = joined_prompt(example, turns)
        said = [t for turn, t in zip(example.prompt, turns, strict=True) if turn["role"] == "user"]
        question = said[0] if len(said) == 1 else plain(raw)
        is_long = has_long_answer(example)
        self._digests += bytes.fromhex(example.digest)
        self._prompts += text_key(prompt, 16)
        self._pairs += pair_key(prompt, answer)
        self._answers += text_key(answer)
        self._groups += text_key(example.group)
        self._kinds.append(KINDS.index(example.kind))
        self._flags.append(
            (example.kind != "text" and len(example.reference) <= _LABEL_CHARS) * _CAN_BE_LABEL
            + bool(example.prompt) * _HAS_PROMPT
            + is_long * _HAS_LONG_ANSWER
        )
        source = self.source_names.setdefault(example.source, len(self.source_names))
        self._sources += source.to_bytes(4, "little")
        self.shared.add(raw)
        self.asked.append(question)
        if is_long:
            can_join = says_something(question) and says_something(answer)
            joined = f"{question} {answer}" if can_join else plain(f"{raw}\n{example.reference}")
            self.exchanges.append(joined)
        self.examples.append(example)

    @property
    def digests(self) -> NDArray[np.uint8]:
        """Example digests (n, 32)."""
        return np.frombuffer(self._digests, np.uint8).reshape(-1, 32)

    @property
    def pair_keys(self) -> Keys:
        """Plain prompt with plain answer (n, 2)."""
        return np.frombuffer(self._pairs, np.uint64).reshape(-1, 2)

    @property
    def prompt_keys(self) -> Keys:
        """Plain prompt (n, 2)."""
        return np.frombuffer(self._prompts, np.uint64).reshape(-1, 2)

    @property
    def answer_keys(self) -> Keys:
        """Plain answer (n,)."""
        return np.frombuffer(self._answers, np.uint64)

    @property
    def group_keys(self) -> Keys:
        """Group (n,)."""
        return np.frombuffer(self._groups, np.uint64)

    @property
    def kinds(self) -> NDArray[np.uint8]:
        """Place of the kind in `KINDS` (n,)."""
        return np.frombuffer(self._kinds, np.uint8)

    @property
    def sources(self) -> NDArray[np.uint32]:
        """Number of the source in `source_names` (n,)."""
        return np.frombuffer(self._sources, np.uint32)

    @property
    def has_prompt(self) -> Flags:
        """Whether somebody says something before the learned turn (n,)."""
        return self._flagged(_HAS_PROMPT)

    @property
    def has_long_answer(self) -> Flags:
        """Whether the whole exchange is compared as well (n,)."""
        return self._flagged(_HAS_LONG_ANSWER)

    def label_keys(self, rows: Positions) -> Keys:
        """Keys of the answers that act as labels: short, and shared by five of `rows` or more."""
        short = rows[self._flagged(_CAN_BE_LABEL)[rows]]
        keys, counts = np.unique(self.answer_keys[short], return_counts=True)
        return keys[counts >= _LABEL_SHARED_BY]

    def _flagged(self, flag: int) -> Flags:
        return (np.frombuffer(self._flags, np.uint8) & flag) > 0
