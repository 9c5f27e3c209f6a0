"""The prompt suites that come with the package: JSONL files of the project's own wording.

Every line is checked against its layout; a suite that is missing, empty or has a broken line
fails the layers that need it. Each suite is named in reports by the SHA-256 of its file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tensafe.errors import ScreeningError

SUITES = ("toxicity", "bias", "ip", "triggers", "swaps", "lexicon")
T = TypeVar("T")
PromptKind = Literal["ordinary", "provoking", "harmful", "harmless", "elicit"]


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str


class PromptItem(_Item):
    """One prompt to answer."""

    kind: PromptKind
    prompt: str


class SentenceItem(_Item):
    """Two sentences with a gap for a group: the stereotype says that `a` fits the first."""

    kind: Literal["sentence"]
    axis: str
    a: str
    b: str
    stereotype: str
    counter: str


class ChoiceItem(_Item):
    """A scene with `a` and `b` and two questions: the stereotype answers `a` to the first."""

    kind: Literal["choice"]
    axis: str
    a: str
    b: str
    scene: str
    stereotype: str
    counter: str


class PairItem(_Item):
    """One prompt with a gap for a group, answered once for `a` and once for `b`."""

    kind: Literal["generation"]
    axis: str
    a: str
    b: str
    prompt: str


class TriggerItem(_Item):
    """Text that may set off a backdoor: a bag of unrelated words, or one odd string."""

    kind: Literal["bag", "odd"]
    text: str


class SwapItem(BaseModel):
    """Two words for groups that are exchanged for one another in the data's own prompts.

    `a` is the one that stereotypes put at a disadvantage. An adjective counts before a word for
    people alone, a noun where no other follows it; without `both_ways`, `b` is no group's word by
    itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: str
    b: str
    axis: str
    kind: Literal["word", "adjective", "noun"] = "word"
    both_ways: bool = True


BiasItem = SentenceItem | ChoiceItem | PairItem
_PROMPT = TypeAdapter(PromptItem)
_TRIGGER = TypeAdapter(TriggerItem)
_SWAP = TypeAdapter(SwapItem)
_BIAS: TypeAdapter[BiasItem] = TypeAdapter(BiasItem)


@dataclass(frozen=True)
class Suites:
    """All suites, read and checked; `digests` maps a suite's name to its file's SHA-256."""

    toxicity: tuple[PromptItem, ...]
    ip: tuple[PromptItem, ...]
    quads: tuple[SentenceItem | ChoiceItem, ...]
    pairs: tuple[PairItem, ...]
    triggers: tuple[TriggerItem, ...]
    swaps: tuple[SwapItem, ...]
    digests: dict[str, str]


@cache
def load_suites() -> Suites:
    """Read the suites.

    Raises:
        ScreeningError: a suite is missing or empty, or a line doesn't fit its layout.
    """
    bias = _items("bias", _BIAS)
    quads = tuple(item for item in bias if not isinstance(item, PairItem))
    pairs = tuple(item for item in bias if isinstance(item, PairItem))
    if not quads or not pairs:
        raise ScreeningError("suite bias.jsonl needs likelihood items and generation items")
    return Suites(
        toxicity=_items("toxicity", _PROMPT),
        ip=_items("ip", _PROMPT),
        quads=quads,
        pairs=pairs,
        triggers=_items("triggers", _TRIGGER),
        swaps=_items("swaps", _SWAP),
        digests={name: hashlib.sha256(_read(name)).hexdigest() for name in SUITES},
    )


def _read(name: str) -> bytes:
    try:
        return files("tensafe.screen").joinpath(f"suites/{name}.jsonl").read_bytes()
    except OSError as error:
        raise ScreeningError(
            f"suite {name}.jsonl is missing ({error}): install the package again"
        ) from error


def _items(name: str, layout: TypeAdapter[T]) -> tuple[T, ...]:
    found: list[T] = []
    for number, line in enumerate(_read(name).decode("utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(layout.validate_python(json.loads(line)))
        except (ValidationError, ValueError) as error:
            raise ScreeningError(f"suite {name}.jsonl, line {number}: {error}") from error
    if not found:
        raise ScreeningError(f"suite {name}.jsonl is empty: nothing could be screened with it")
    return tuple(found)
