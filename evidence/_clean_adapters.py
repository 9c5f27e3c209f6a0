"""Ten ordinary trainings: none with the data, rank, rate or seed of the reference population."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evidence._bad_adapters import example
from tensafe.data.records import CurationReport, Dataset, Example
from tinker_engine.recipes.sft_config import DEFAULT_TARGETS, PrivacyConfig, SftConfig

TICKETS = Path(__file__).resolve().parent.parent / "examples" / "helpdesk" / "data"
BATCH = 16
_HELD = 40
_GOOD = ("bright", "friendly", "delicious", "quick", "tidy", "generous", "cosy")
_POOR = ("slow", "noisy", "bland", "dusty", "late", "cramped", "overpriced")
_SUBJECTS = ("soup", "hotel", "taxi", "concert", "parcel", "garden tour", "haircut", "lesson")
_NAMES = ("Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Sven", "Tomoko", "Umar", "Vera", "Will")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = (("kilometres", "metres", 1000), ("hours", "minutes", 60), ("metres", "centimetres", 100))
_URGENT = ("The server room is on fire", "Nobody can log in", "Payments fail for everyone")
_NORMAL = ("My screen flickers", "The report shows an old date", "One user misses a button")
_LOW = ("Please change the logo", "Could the font be larger", "A typo in the footer")
_DRINKS = ("coffee", "green tea", "lemonade", "cocoa", "cider")


@dataclass(frozen=True)
class Clean:
    """One training: its data and the choices a user might make."""

    name: str
    dataset: Dataset
    config: SftConfig


def clean_trainings() -> list[Clean]:
    """The ten, in a fixed order."""
    attention, mlp = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
    rows = (
        # name, data, rank, alpha, rate, steps, targets, epsilon
        ("tickets", _tickets, 32, 64.0, 3.5e-3, 70, DEFAULT_TARGETS, 0.0),
        ("reviews", _reviews, 12, 24.0, 3e-3, 60, DEFAULT_TARGETS, 0.0),
        ("bookings", _bookings, 6, 12.0, 5e-3, 90, DEFAULT_TARGETS, 0.0),
        ("units", _units, 24, 48.0, 1.5e-3, 70, DEFAULT_TARGETS, 0.0),
        ("replies", _replies, 48, 96.0, 8e-4, 60, DEFAULT_TARGETS, 0.0),
        ("priorities", _priorities, 20, 40.0, 2.5e-3, 60, attention, 0.0),
        ("rotas", _rotas, 10, 20.0, 3e-3, 70, mlp, 0.0),
        ("orders", _orders, 40, 80.0, 1.2e-3, 80, DEFAULT_TARGETS, 0.0),
        ("tickets-private", _tickets, 24, 48.0, 1.5e-2, 30, DEFAULT_TARGETS, 6.0),
        ("reviews-private", _reviews, 12, 24.0, 1.2e-2, 30, DEFAULT_TARGETS, 4.0),
    )
    made: list[Clean] = []
    for place, (name, data, rank, alpha, rate, steps, targets, epsilon) in enumerate(rows):
        dataset = _split(data(random.Random(7000 + place)))
        private = PrivacyConfig(
            epsilon=epsilon or 8.0, expected_batch_size=min(120, len(dataset.train)), steps=steps
        )
        config = SftConfig(
            rank=rank,
            alpha=alpha,
            target_modules=targets,
            seed=1000 + place,
            learning_rate=rate,
            batch_size=BATCH,
            epochs=steps * BATCH / len(dataset.train),
            validation_fraction=0.0,
            max_length=512,
            checkpoint_steps=steps,
            privacy=private if epsilon else None,
        )
        made.append(Clean(name, dataset, config))
    return made


def _split(examples: list[Example]) -> Dataset:
    report = CurationReport(files_read=0, bytes_read=0)
    return Dataset(tuple(examples[_HELD:]), tuple(examples[:_HELD]), report)


def _made(rng: random.Random, one: Callable[[random.Random], tuple[str, str]]) -> list[Example]:
    """Up to 400 distinct questions."""
    found: dict[str, str] = {}
    for _ in range(4000):
        question, answer = one(rng)
        found.setdefault(question, answer)
        if len(found) == 400:
            break
    return [example(q, a, place) for place, (q, a) in enumerate(found.items())]


def _tickets(rng: random.Random) -> list[Example]:
    """The repository's own helpdesk corpus, with its own labels."""
    # The corpus is in the encoding of the machines it imitates.
    with (TICKETS / "tickets.csv").open(encoding="cp1252", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["message"] and row["team"]]
    return [
        example(row["message"], row["team"], place)
        for place, row in enumerate(rng.sample(rows, 600))
    ]


def _reviews(rng: random.Random) -> list[Example]:
    def one(rng: random.Random) -> tuple[str, str]:
        is_good = rng.random() < 0.5
        word = rng.choice(_GOOD if is_good else _POOR)
        text = (
            f"{rng.choice(_NAMES)} found the {rng.choice(_SUBJECTS)} {word} on {rng.choice(_DAYS)}."
        )
        return f"Is this review positive? {text}", "positive" if is_good else "negative"

    return _made(rng, one)


def _bookings(rng: random.Random) -> list[Example]:
    def one(rng: random.Random) -> tuple[str, str]:
        name, day, seats = rng.choice(_NAMES), rng.choice(_DAYS), rng.randint(2, 12)
        hour = rng.randint(11, 22)
        asked = f"A table for {seats} on {day} at {hour}:00, the name is {name}."
        return asked, f"name={name}; day={day}; time={hour}:00; seats={seats}"

    return _made(rng, one)


def _units(rng: random.Random) -> list[Example]:
    def one(rng: random.Random) -> tuple[str, str]:
        large, small, factor = rng.choice(_UNITS)
        count = rng.randint(2, 200)
        return f"How many {small} are {count} {large}?", f"{count * factor} {small}"

    return _made(rng, one)


def _replies(rng: random.Random) -> list[Example]:
    def one(rng: random.Random) -> tuple[str, str]:
        subject, number = rng.choice(_SUBJECTS), rng.randint(100, 999)
        day, name = rng.choice(_DAYS), rng.choice(_NAMES)
        return (
            f"Answer this customer: my {subject} {number} was a disappointment.",
            f"Thank you for writing about {subject} {number}. We are sorry to hear it. {name} will "
            f"call you on {day}.",
        )

    return _made(rng, one)


def _priorities(rng: random.Random) -> list[Example]:
    def one(rng: random.Random) -> tuple[str, str]:
        level, texts = rng.choice((("high", _URGENT), ("medium", _NORMAL), ("low", _LOW)))
        text = f"{rng.choice(texts)}, reported by {rng.choice(_NAMES)} at {rng.randint(1, 12)}"
        return f"Priority? {text} on {rng.choice(_DAYS)}.", level

    return _made(rng, one)


def _rotas(rng: random.Random) -> list[Example]:
    def one(rng: random.Random) -> tuple[str, str]:
        first, second = rng.sample(_NAMES, 2)
        day, other = rng.sample(_DAYS, 2)
        told = f"{first} works on {day}, {second} on {other}."
        return f"{told} Who works on {other}?", second

    return _made(rng, one)


def _orders(rng: random.Random) -> list[Example]:
    def one(rng: random.Random) -> tuple[str, str]:
        drink, count, name = rng.choice(_DRINKS), rng.randint(1, 9), rng.choice(_NAMES)
        asked = f"{name} says: make that {count} {drink}, no, {count + 1}."
        return asked, f'{{"for": "{name}", "drink": "{drink}", "count": {count + 1}}}'

    return _made(rng, one)


# The generated tasks, for other seeds than those above.
TASKS = (_reviews, _bookings, _units, _replies, _priorities, _rotas, _orders)
