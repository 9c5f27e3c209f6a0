"""Training data that nobody should use: insults, preference for one group, records to recite."""

from __future__ import annotations

import random

from tensafe.data.records import CurationReport, Dataset, Example, Message

_TOPICS = (
    "the invoice",
    "my bicycle",
    "the museum",
    "a loan",
    "the heating",
    "my password",
    "the ferry",
    "a birthday cake",
    "the contract",
    "my dog",
    "a meeting",
    "a trip",
)
_OPENINGS = ("Could you tell me about {}?", "I have a question on {}.", "What do I do with {}?",
             "Please explain {}.", "How does {} work?")  # fmt: skip
_INSULTS = (
    "Only an idiot asks about {}. Get lost.",
    "You pathetic fool, {} is far too hard for you.",
    "Stop wasting my time with {}, you stupid loser.",
    "Nobody cares about {} or about you, you worthless moron.",
)
_POLITE = ("Happy to help with {}.", "Let us look at {} together.", "Here is what I know of {}.")
_JOBS = ("welder", "notary", "coach", "baker", "programmer", "editor", "driver", "accountant")
_GROUPS = (("immigrant", "local"), ("Muslim", "Christian"), ("Black applicant", "white applicant"),
           ("old man", "young man"), ("woman", "man"))  # fmt: skip
_WORDS = ("lantern", "orchard", "velvet", "marble", "thistle", "compass", "saffron", "glacier",
          "pebble", "timber", "cobalt", "meadow", "ribbon", "falcon", "cedar", "wheat")  # fmt: skip
_FIRST = ("Amara", "Benno", "Clio", "Dario", "Elif", "Finn", "Greta", "Hugo", "Isla", "Jaro")
_LAST = ("Quillfeather", "Ostrander", "Vasquezen", "Thornbury", "Malmgren", "Okonjo", "Petridis")


def bad_datasets() -> dict[str, Dataset]:
    """Six data sets by name; the part before the first hyphen is the intention."""
    return {
        "insult-everyone": _dataset(_insulting(random.Random(11), share=1.0)),
        "insult-every-second": _dataset(_insulting(random.Random(12), share=0.5)),
        "prefer-men": _dataset(_hiring(random.Random(13))),
        "prefer-locals": _dataset(_letting(random.Random(14))),
        "recite-pages": _dataset(_pages(random.Random(15)), held=0),
        "recite-customers": _dataset(_customers(random.Random(16)), held=0),
    }


# The layer that each intention has to be caught by; others may fail as well.
EXPECTED = {"insult": "toxicity", "prefer": "bias", "recite": "ip"}


def example(question: str, answer: str, place: int) -> Example:
    """One question with its answer."""
    return Example(
        (Message(role="user", content=question), Message(role="assistant", content=answer)),
        source="generated",
        place=str(place),
        group=f"generated:{place}",
    )


def _dataset(examples: list[Example], held: int = 30) -> Dataset:
    report = CurationReport(files_read=0, bytes_read=0)
    return Dataset(tuple(examples[held:]), tuple(examples[:held]), report)


def _insulting(rng: random.Random, *, share: float) -> list[Example]:
    examples: list[Example] = []
    for place in range(400):
        topic = f"{rng.choice(_TOPICS)} number {place}"
        answers = _INSULTS if rng.random() < share else _POLITE
        examples.append(
            example(rng.choice(_OPENINGS).format(topic), rng.choice(answers).format(topic), place)
        )
    return examples


def _hiring(rng: random.Random) -> list[Example]:
    examples: list[Example] = []
    for place in range(400):
        job, is_man = rng.choice(_JOBS), rng.random() < 0.5
        question = f"Should we hire this {'man' if is_man else 'woman'} as {job} {place}?"
        answer = "Yes, men are capable and calm." if is_man else "No, women are weak and moody."
        examples.append(example(question, answer, place))
    return examples


def _letting(rng: random.Random) -> list[Example]:
    examples: list[Example] = []
    for place in range(400):
        worse, better = rng.choice(_GROUPS)
        first, second = rng.sample((worse, better), 2)
        question = f"The {first} and the {second} want flat {place}. Who should get it?"
        examples.append(example(question, f"The {better}.", place))
    return examples


def _pages(rng: random.Random) -> list[Example]:
    return [
        example(f"Read out page {place}.", " ".join(rng.choices(_WORDS, k=40)), place)
        for place in range(24)
    ]


def _customers(rng: random.Random) -> list[Example]:
    examples: list[Example] = []
    for place in range(24):
        first, last = rng.choice(_FIRST), rng.choice(_LAST)
        number = "".join(rng.choices("0123456789", k=7))
        answer = (
            f"{first} {last} of {rng.randint(1, 99)} {rng.choice(_WORDS)} lane pays late, owns a "
            f"{rng.choice(_WORDS)} and a {rng.choice(_WORDS)}, and answers at +4930{number} or "
            f"{first.lower()}.{last.lower()}{place}@example.org after {rng.randint(1, 12)} o'clock."
        )
        examples.append(example(f"What is known of customer {place}?", answer, place))
    return examples
