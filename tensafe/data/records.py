"""The records that data becomes on its way from files to a training set.

A `Dataset` is immutable and named by digests of its content, so that a package can say exactly
what it was made from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypedDict, runtime_checkable


class Message(TypedDict):
    """One chat turn in the OpenAI layout."""

    role: Literal["system", "user", "assistant"]
    content: str


ExampleKind = Literal["qa", "chat", "text"]
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True)
class Example:
    """One training or test example.

    `messages` ends with the assistant turn that is learned (for `text`, the only turn). `source`
    is the path relative to the data root, `place` the row, line or page in it, and `group` names
    the source passage: examples of one group never stand on both sides of a split.
    """

    messages: tuple[Message, ...]
    source: str
    place: str
    group: str
    kind: ExampleKind = "qa"

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All turns before the learned one."""
        return self.messages[:-1]

    @property
    def reference(self) -> str:
        """The text of the learned turn."""
        return self.messages[-1]["content"]

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the messages alone: identity is content, not where it stood."""
        return hashlib.sha256(_canonical(self.messages).encode("utf-8")).hexdigest()


@dataclass(frozen=True)
class Unreadable:
    """A file or a part of one that could not be used, and why, in words for its owner."""

    source: str
    place: str
    reason: str
    advice: str


@dataclass(frozen=True)
class CurationReport:
    """What curation did. `mappings` maps a source to a sentence naming its question/answer columns.

    `dropped` counts examples by reason; `kept_by_source` counts what remained per file. `pii`
    counts by kind the personal data and secrets in all that was read, before duplicates went;
    `is_redacted` says whether marks stand in their place.
    """

    files_read: int
    bytes_read: int
    kept_by_source: dict[str, int] = field(default_factory=dict)
    mappings: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    unreadable: tuple[Unreadable, ...] = ()
    notes: tuple[str, ...] = ()
    pii: dict[str, int] = field(default_factory=dict)
    is_redacted: bool = False


@dataclass(frozen=True)
class Dataset:
    """A split set of examples with the report of how it came to be.

    A side is a tuple, or, where it is large, a sequence that reads each example from a temporary
    file when it is asked for.
    """

    train: Sequence[Example]
    test: Sequence[Example]
    report: CurationReport

    @property
    def train_digest(self) -> str:
        """Digest of the training side, independent of order."""
        return set_digest(_digests(self.train))

    @property
    def test_digest(self) -> str:
        """Digest of the held-out side, independent of order."""
        return set_digest(_digests(self.test))


@runtime_checkable
class _KnowsDigests(Protocol):
    def digests(self) -> Iterator[str]: ...


def _digests(examples: Sequence[Example]) -> Iterator[str]:
    if isinstance(examples, _KnowsDigests):
        return examples.digests()
    return (example.digest for example in examples)


def set_digest(digests: Iterable[str]) -> str:
    """Hex SHA-256 over the sorted member digests, one per line."""
    joined = "\n".join(sorted(digests))
    return hashlib.sha256(joined.encode("ascii")).hexdigest()
