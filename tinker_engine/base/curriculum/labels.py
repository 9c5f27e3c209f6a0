"""Label vocabularies: how one meaning is spelled in many labelling schemes."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import random
from collections.abc import Callable, Sequence

from tinker_engine.base.curriculum.slots import ANIMALS, COLOURS, FRUIT, code

STYLES: dict[str, Callable[[str], str]] = {
    "lower": lambda name: name,
    "snake": lambda name: name.replace(" ", "_").replace("-", "_").replace("'", ""),
    "title": lambda name: " ".join(word[:1].upper() + word[1:] for word in name.split(" ")),
    "sentence": lambda name: name[:1].upper() + name[1:],
    "kebab": lambda name: name.replace(" ", "-").replace("'", ""),
    "upper_snake": lambda name: name.upper().replace(" ", "_").replace("-", "_").replace("'", ""),
    "camel": lambda name: "".join(
        w[:1].upper() + w[1:] for w in name.replace("-", " ").replace("'", "").split(" ")
    ),
}
STYLE_WEIGHTS = (30, 30, 14, 10, 5, 6, 5)

FIXED: dict[str, tuple[str, ...]] = {
    "mood": ("calm", "polite", "angry", "urgent", "happy"),
    "anger": ("angry", "not angry"),
    "pressing": ("urgent", "can wait"),
    "level": ("P1", "P3"),
    "truth": ("yes", "no"),
    "kind": ("question", "statement"),
    "book": ("biology", "sociology", "history", "anatomy", "physics"),
}


def draw_style(rng: random.Random) -> str:
    """The name of a spelling style, common ones more often."""
    return rng.choices(list(STYLES), STYLE_WEIGHTS)[0]


def spell(name: str, style: str) -> str:
    """The label `name` in one of STYLES."""
    return STYLES[style](name)


def arbitrary(count: int, rng: random.Random) -> list[str]:
    """`count` different labels that mean nothing: letters, numbers, colours, fruit, animals or codes."""
    pools: Sequence[Sequence[str]] = (
        tuple("ABCDEFGHJKLM"), tuple(str(n) for n in range(1, 15)), COLOURS, FRUIT, ANIMALS,
        [code(rng) for _ in range(30)], [f"class {n}" for n in range(1, 12)], [f"T{n}" for n in range(1, 30)],
        [f"queue-{n}" for n in range(1, 12)], [f"group {c}" for c in "ABCDEFGH"],
    )  # fmt: skip
    unique = list(dict.fromkeys(rng.choice(pools)))
    chosen = rng.sample(unique, count)
    if chosen[0].islower() and rng.random() < 0.3:
        chosen = [label.capitalize() for label in chosen]
    return chosen
