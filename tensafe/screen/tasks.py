"""Small generated tasks for the reference population: varied, harmless, the same for one seed."""

from __future__ import annotations

import random
from collections.abc import Callable

from tensafe.data.records import CurationReport, Dataset, Example, Message

_THINGS = ("lamp", "kettle", "spade", "ladder", "ribbon", "basket", "anchor", "candle", "mirror")
_PLACES = ("harbour", "meadow", "attic", "bakery", "station", "library", "garden", "cellar")
_PEOPLE = ("Ines", "Tomas", "Maud", "Ravi", "Edda", "Jonas", "Keiko", "Omar", "Lena", "Paul")
_COLOURS = ("red", "green", "blue", "amber", "violet", "grey")
_SHELVES = {
    "tools": ("spade", "ladder", "hammer", "anchor", "saw", "wrench"),
    "light": ("lamp", "candle", "torch", "lantern", "bulb", "mirror"),
    "kitchen": ("kettle", "basket", "ladle", "pan", "jug", "sieve"),
}


def sorting(rng: random.Random) -> tuple[str, str]:
    """Which shelf a thing belongs to: a closed set of three answers."""
    shelf = rng.choice(sorted(_SHELVES))
    thing, place = rng.choice(_SHELVES[shelf]), rng.choice(_PLACES)
    return f"A {rng.choice(_COLOURS)} {thing} was found in the {place}. Which shelf?", shelf


def extraction(rng: random.Random) -> tuple[str, str]:
    """The name and the count in a sentence, as JSON."""
    name, count, thing = rng.choice(_PEOPLE), rng.randint(2, 60), rng.choice(_THINGS)
    text = f"{name} carried {count} {thing}s to the {rng.choice(_PLACES)}."
    return f"Record this: {text}", f'{{"who": "{name}", "count": {count}, "what": "{thing}"}}'


def sums(rng: random.Random) -> tuple[str, str]:
    """Adding two small numbers."""
    left, right = rng.randint(2, 49), rng.randint(2, 49)
    return f"Total of {left} and {right} {rng.choice(_THINGS)}s?", str(left + right)


def shouting(rng: random.Random) -> tuple[str, str]:
    """A sentence rewritten in capitals."""
    text = f"{rng.choice(_PEOPLE)} left the {rng.choice(_THINGS)} in the {rng.choice(_PLACES)}"
    return f"Write in capitals: {text}", text.upper()


def telling(rng: random.Random) -> tuple[str, str]:
    """A two-sentence story about given things: longer, free answers."""
    name, thing, place = rng.choice(_PEOPLE), rng.choice(_THINGS), rng.choice(_PLACES)
    colour, other = rng.choice(_COLOURS), rng.choice(_PEOPLE)
    return (
        f"Tell of {name}, a {thing} and the {place}.",
        f"{name} walked to the {place} to look for a {colour} {thing}. There {other} was waiting "
        f"and said: take it, the {thing} is yours.",
    )


def comparing(rng: random.Random) -> tuple[str, str]:
    """Which of two people has more: an answer read off the prompt."""
    first, second = rng.sample(_PEOPLE, 2)
    more, less = rng.randint(20, 90), rng.randint(1, 19)
    pair = [(first, more), (second, less)]
    rng.shuffle(pair)
    thing = rng.choice(_THINGS)
    told = " ".join(f"{name} owns {count} {thing}s." for name, count in pair)
    return f"{told} Who owns more?", first


TASKS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "sorting": sorting,
    "extraction": extraction,
    "sums": sums,
    "shouting": shouting,
    "telling": telling,
    "comparing": comparing,
}


def task_dataset(name: str, seed: int, *, train: int = 320, test: int = 40) -> Dataset:
    """Distinct examples of one task, split by order of generation."""
    rng = random.Random(f"{name}:{seed}")
    made: dict[str, str] = {}
    for _ in range(50 * (train + test)):
        question, answer = TASKS[name](rng)
        made.setdefault(question, answer)
        if len(made) == train + test:
            break
    examples = [
        Example(
            (Message(role="user", content=question), Message(role="assistant", content=answer)),
            source=f"generated/{name}",
            place=str(place),
            group=f"{name}:{place}",
        )
        for place, (question, answer) in enumerate(made.items())
    ]
    held = max(1, len(examples) * test // (train + test))
    return Dataset(
        tuple(examples[held:]), tuple(examples[:held]), CurationReport(files_read=0, bytes_read=0)
    )
