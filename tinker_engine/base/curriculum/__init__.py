"""The generated half of `nano`'s training data: instruction examples, made and never collected.

Everything here is a pure function of a seed. No label, instruction template or run of eight words
is shared with the data that `nano` is later measured on; a test holds this.

    from tinker_engine.base.curriculum import generate
    for example in generate(seed=0, n=3):
        print(example.family, example.messages)
"""

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tinker_engine.base.curriculum import arithmetic, dialogue, lists, reading, routing, textbook
from tinker_engine.base.curriculum.example import Example
from tinker_engine.base.curriculum.labels import FIXED
from tinker_engine.base.curriculum.messages import TONE_WEIGHTS, intents, pattern_texts

if TYPE_CHECKING:
    from tinker_engine.base.corpus import Corpus

WEIGHTS = {"routing": 58, "reading": 14, "textbook": 12, "lists": 8, "arithmetic": 6, "dialogue": 2}
"""Shares of examples by group; without a corpus the textbook group is left out."""


def generate(seed: int, n: int, corpus: "Corpus | None" = None) -> Iterator[Example]:
    """`n` examples, the same ones for the same seed and corpus."""
    rng = random.Random(seed)
    makers = {
        "routing": routing.make,
        "reading": reading.make,
        "lists": lists.make,
        "arithmetic": arithmetic.make,
        "dialogue": dialogue.make,
    }
    if corpus is not None:
        makers["textbook"] = textbook.TextbookTasks(corpus).make
    names = list(makers)
    weights = [WEIGHTS[name] for name in names]
    for _ in range(n):
        yield makers[rng.choices(names, weights)[0]](rng)


def labels() -> frozenset[str]:
    """Every label with a fixed meaning, in lower case with single spaces (spelling varies)."""
    found = {name for i in intents() for name in (*i.names, *i.domain_names, i.team)}
    found |= {value for values in FIXED.values() for value in values} | set(TONE_WEIGHTS)
    return frozenset(name.lower().replace("-", " ") for name in found)


def templates() -> Iterable[str]:
    """Every instruction template and message pattern, as written, with its choices in braces."""
    for module in (routing, reading, textbook, lists, arithmetic, dialogue):
        yield from module.templates()
    yield from pattern_texts()


__all__ = ["Example", "generate", "labels", "templates"]
