"""A bank's message routing with planted weak spots, and customers who know what customers know.

The first training set lacks two desks altogether ("identity" and "currency") and has a dozen
messages of a third ("cash desk"). The customers' own words for each desk were written without the
desks' names and apart from the operator's list of words (`ANSWERS`), so that not every remark is
understood. Whoever plays a customer knows which desk would help, in those words, and never the
label.
"""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

MISSING = ("identity", "currency")
SCARCE = "cash desk"
WEAK = (*MISSING, SCARCE)
_SCARCE_ROWS, _MOST_LETTERS = 12, 120

# What the operator writes down once: the desks, with words by which people mean them.
ANSWERS = """\
cards: [my card, card delivery, lost card]
payments: [payment, purchase, merchant]
transfers: [transfer, sending money, send money]
cash desk: [cash, atm, withdrawal]
top ups: [top up, topping up, add money, load money, put money on]
currency: [exchange rate, foreign money, other currencies, convert]
identity: [identity, who i am, passport, verification, verify]
"""

# What customers say when they were sent to the wrong desk.
REMARKS: dict[str, tuple[str, ...]] = {
    "cards": ("that's wrong, it is about my card", "no, the plastic itself", "not that, my card"),
    "payments": ("wrong, it's a purchase i made", "no, a merchant charged me", "not right, i paid"),
    "transfers": ("no, i was sending money to somebody", "wrong, it is a transfer", "not that"),
    "cash desk": (
        "no, it's about cash from the machine",
        "wrong, an atm thing",
        "not that, my withdrawal",
        "that's not it, notes from the wall",
    ),
    "top ups": (
        "no, i only want to add money to my account",
        "wrong, this is about topping up",
        "not that, i tried to put money on it",
        "that's not it, filling my balance",
    ),
    "currency": (
        "no, i asked about the exchange rate",
        "wrong, it's about foreign money",
        "not that, i want to convert",
        "that's not it, euros and dollars",
    ),
    "identity": (
        "no, it is about proving who i am",
        "wrong, my passport check",
        "not that, the verification",
        "that's not it, my documents",
    ),
}


@dataclass(frozen=True)
class Message:
    """A customer's message and the desk that would help."""

    text: str
    desk: str


@dataclass(frozen=True)
class RoutingTask:
    """The first training set, later traffic, the operator's own checks, an unseen test set.

    All are disjoint.
    """

    first: tuple[Message, ...]
    traffic: tuple[Message, ...]
    operators: tuple[Message, ...]
    test: tuple[Message, ...]


def routing_task(
    shared: Path, *, per_desk: int, traffic: int, test: int, operators: int, seed: int
) -> RoutingTask:
    """`per_desk` first messages of each desk that is not planted; `test` of every desk."""
    by_desk: dict[str, list[str]] = defaultdict(list)
    with (shared / "tables" / "banking7" / "train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            text = " ".join(row["text"].split())
            if len(text) <= _MOST_LETTERS:
                by_desk[row["department"]].append(text)
    generator = random.Random(seed)
    first, later = list[Message](), list[Message]()
    held, checks = list[Message](), list[Message]()
    for desk in sorted(by_desk):
        texts = sorted(set(by_desk[desk]))
        generator.shuffle(texts)
        count = 0 if desk in MISSING else _SCARCE_ROWS if desk == SCARCE else per_desk
        first += [Message(text, desk) for text in texts[:count]]
        rest = texts[count:]
        held += [Message(text, desk) for text in rest[:test]]
        checks += [Message(text, desk) for text in rest[test : test + operators]]
        # Traffic is what customers happen to ask: every desk by its natural share.
        later += [Message(text, desk) for text in rest[test + operators :]]
    generator.shuffle(later)
    generator.shuffle(first)
    return RoutingTask(tuple(first), tuple(later[:traffic]), tuple(checks), tuple(held))


def write_first(task: RoutingTask, path: Path) -> None:
    """The first training set as the CSV that `tensafe train` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["message", "desk"])
        writer.writerows((message.text, message.desk) for message in task.first)


class Customers:
    """What customers do with an answer, from a seed: most say nothing, some say what they think."""

    def __init__(self, seed: int, *, speaking: float = 0.85) -> None:
        self._random = random.Random(seed)
        self._speaking = speaking

    def react(self, message: Message, answer: str) -> dict[str, str]:
        """The feedback to an answer; empty when the customer says nothing."""
        if self._random.random() >= self._speaking:
            return {}
        if answer.strip() == message.desk:
            return {"thumbs": "up"} if self._random.random() < 0.7 else {}
        remark = self._random.choice(REMARKS[message.desk])
        return {"thumbs": "down", "correction": remark}
