"""Sorting, filtering, joining and rewriting words, lists and short sentences; JSON shaping."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import json
import random
from collections.abc import Sequence

from tinker_engine.base.curriculum.example import Example, bind, chance, chat, expand
from tinker_engine.base.curriculum.slots import (
    ANIMALS,
    CITIES,
    COLOURS,
    COUNTRIES,
    FIRST,
    FRUIT,
    THINGS,
    person,
)

KINDS = {
    "fruit": FRUIT,
    "animals": ANIMALS,
    "colours": COLOURS,
    "cities": CITIES,
    "countries": COUNTRIES,
    "names": FIRST,
    "things": THINGS,
}
SORT = (
    "{Sort|Order|Arrange} {these|this list|the items} {WAY}: {LIST}",
    "{LIST}\n{Sort|Put} {them|these} {in order|} {WAY}.",
    "{WAY} order{, please|}: {LIST}",
)
KEEP = (
    "{Keep|Leave|Give me|List} only the {KIND}: {LIST}",
    "{LIST}\nWhich {of these|} are {KIND}?",
    "{Filter|Reduce} to {KIND}: {LIST}",
)
PLACE = (
    "{What is|Name|Give} the {NTH} {item|word|entry} {of|in}: {LIST}",
    "{LIST}\n{NTH} {one|item}?",
    "{From|Out of} {LIST} {take|pick} the {NTH}.",
)
CHANGE = {
    "upper": (
        "{Write|Put} in {capitals|capital letters|upper case}: ",
        "{Shout|Capitals}: ",
        "ALL CAPS please: ",
    ),
    "lower": ("{Write|Put} in {small letters|lower case}: ", "{Lower case|Small letters}: "),
    "reverse": (
        "{Reverse|Turn around|Flip} the {order of the words|word order}: ",
        "{Say|Write} the words backwards: ",
    ),
    "first": ("{First|Only the first} word of: ", "{What is|Give} the first word here: "),
    "last": ("{Last|Only the last} word of: ", "{What is|Give} the final word here: "),
    "snake": (
        "{Join|Link} {the words|} with underscores: ",
        "{Make|Write as} an identifier with underscores: ",
    ),
    "initials": ("{Give|Write} the initials: ", "{First letters|Initials} of: "),
    "same": (
        "{Repeat|Copy|Say again} {exactly|word for word|}: ",
        "Echo: ",
        "{Write this|Type this} {again|once more}: ",
    ),
    "title": ("{Write|Put} as a title: ", "{Capitalise|Capital letter for} {every|each} word: "),
}
JSON_ASK = (
    "{Write|Give|Format|Put} {this|it} as JSON: ",
    "{JSON|As a JSON object}{, please|}: ",
    "{Turn|Convert|Make} into JSON: ",
    "JSON with the {same|given} keys: ",
)
FORMAL = (
    ("hey, can u send the file", "Could you please send the file?"), ("gimme the report", "Please give me the report."),
    ("thx for the help", "Thank you for your help."), ("we r late sorry", "We apologise for being late."),
    ("call me back asap", "Please call me back as soon as possible."), ("no idea what u mean", "I am not sure what you mean."),
    ("this is bad", "This is not satisfactory."), ("wanna meet tomorrow?", "Would you like to meet tomorrow?"),
    ("fix it now", "Please resolve this at your earliest convenience."), ("your room is a mess", "Your room is untidy."),
    ("can't make it", "I am unable to attend."), ("what's the price", "Could you tell me the price?"),
)  # fmt: skip
FORMAL_ASK = (
    "{Make|Write} {this|it} {more|} formal: ",
    "{Polite|Formal|Business} version: ",
    "{Say|Put} it {politely|formally}: ",
)
PLURALS = {"box": "boxes", "leaf": "leaves", "child": "children", "city": "cities", "mouse": "mice", "foot": "feet", "knife": "knives",
           "story": "stories", "man": "men", "woman": "women", "tooth": "teeth", "glass": "glasses", "day": "days", "key": "keys",
           "baby": "babies", "wolf": "wolves", "bus": "buses", "dish": "dishes", "peach": "peaches", "cherry": "cherries"}  # fmt: skip
PLURAL_ASK = (
    "{Plural of|More than one|The plural form of}: ",
    "one {W}, two ...?",
    "{Make|Put} into plural: ",
)


def _join(items: Sequence[str], rng: random.Random) -> str:
    return rng.choice((", ", ", ", "; ", "\n", " / ")).join(items)


def _set(pattern: str, rng: random.Random, **values: str) -> str:
    text = bind(pattern, rng, values)
    return text[:1].upper() + text[1:]


def sort(rng: random.Random) -> Example:
    """A list in order of size or alphabet."""
    if chance(rng, 0.5):
        values = rng.sample(range(rng.choice((20, 100, 1000))), rng.randint(3, 6))
        is_up = chance(rng, 0.6)
        way = rng.choice(
            ("from small to large", "ascending", "smallest first")
            if is_up
            else ("descending", "largest first", "from large to small")
        )
        items, ordered = (
            [str(v) for v in values],
            [str(v) for v in sorted(values, reverse=not is_up)],
        )
    else:
        items = rng.sample(rng.choice(list(KINDS.values())), rng.randint(3, 5))
        way, ordered = rng.choice(("alphabetically", "by alphabet", "from A to Z")), sorted(items)
    return chat(
        "sort", _set(rng.choice(SORT), rng, WAY=way, LIST=_join(items, rng)), ", ".join(ordered)
    )


def keep(rng: random.Random) -> Example:
    """The members of a list that are of one kind."""
    if chance(rng, 0.35):
        limit = rng.randint(10, 90)
        values = rng.sample([n for n in range(1, 100) if n != limit], rng.randint(4, 7))
        kind, wanted = rng.choice(
            (
                (f"numbers above {limit}", [v for v in values if v > limit]),
                (f"numbers below {limit}", [v for v in values if v < limit]),
                ("even numbers", [v for v in values if v % 2 == 0]),
                ("odd numbers", [v for v in values if v % 2 == 1]),
            )
        )
        answer, items = [str(v) for v in wanted], [str(v) for v in values]
    else:
        kind, other = rng.sample([k for k in KINDS if k not in ("names", "things")], 2)
        answer = rng.sample(KINDS[kind], rng.randint(1, 3))
        items = [*answer, *rng.sample(KINDS[other], rng.randint(1, 3))]
        rng.shuffle(items)
        answer = [item for item in items if item in answer]
    return chat(
        "filter",
        _set(rng.choice(KEEP), rng, KIND=kind, LIST=_join(items, rng)),
        ", ".join(answer) or "none",
    )


def place(rng: random.Random) -> Example:
    """The n-th or the longest item of a list."""
    items = rng.sample(rng.choice(list(KINDS.values())), rng.randint(3, 6))
    nth = rng.choice(("first", "second", "third", "last", "longest"))
    answer = (
        max(items, key=len)
        if nth == "longest"
        else items[("first", "second", "third").index(nth) if nth != "last" else -1]
    )
    if nth == "longest" and sum(len(i) == len(answer) for i in items) > 1:
        nth, answer = "last", items[-1]
    return chat("list-item", _set(rng.choice(PLACE), rng, NTH=nth, LIST=_join(items, rng)), answer)


def change(rng: random.Random) -> Example:
    """A few words in another spelling or order."""
    words = rng.sample([*THINGS, *ANIMALS, *FRUIT, *(c.lower() for c in CITIES)], rng.randint(2, 5))
    kind = rng.choice(list(CHANGE))
    if kind == "initials":
        words = person(rng).split()
    if kind == "lower":
        words = [w.upper() if chance(rng, 0.6) else w.capitalize() for w in words]
    answer = {
        "upper": " ".join(words).upper(), "lower": " ".join(words).lower(), "reverse": " ".join(reversed(words)), "first": words[0],
        "last": words[-1], "snake": "_".join(words), "initials": "".join(w[0] for w in words), "same": " ".join(words),
        "title": " ".join(w.capitalize() for w in words),
    }[kind]  # fmt: skip
    text = " ".join(words)
    ask = expand(rng.choice(CHANGE[kind]), rng)
    return chat(
        "rewrite",
        rng.choice(
            (f"{ask} {text}", f'{ask} "{text}"', f"{ask}\n{text}", f"{text}\n{ask.rstrip(':')}")
        ),
        answer,
    )


def formal(rng: random.Random) -> Example:
    """A casual sentence made polite."""
    casual, good = rng.choice(FORMAL)
    return chat("formal", f"{expand(rng.choice(FORMAL_ASK), rng)} {casual}", good)


def plural(rng: random.Random) -> Example:
    """The plural of a noun."""
    word = rng.choice(
        [
            *PLURALS,
            *(t for t in THINGS if t[-1] not in "fhsxy"),
            "cat",
            "house",
            "tree",
            "book",
            "car",
        ]
    )
    answer = PLURALS.get(word, word + ("es" if word.endswith("ss") else "s"))
    ask = rng.choice(PLURAL_ASK)
    return chat(
        "plural", ask.replace("{W}", word) if "{W}" in ask else f"{expand(ask, rng)} {word}", answer
    )


def to_json(rng: random.Random) -> Example:
    """Fields written as a JSON object."""
    pool = {
        "name": person(rng), "city": rng.choice(CITIES), "age": rng.randint(18, 90), "item": rng.choice(THINGS), "colour": rng.choice(COLOURS),
        "count": rng.randint(1, 99), "country": rng.choice(COUNTRIES), "paid": rng.choice((True, False)),
    }  # fmt: skip
    keys = rng.sample(list(pool), rng.randint(1, 4))
    sign, end = rng.choice(((": ", "\n"), ("=", ", "), (" is ", "; "), (": ", ", ")))
    lines = end.join(f"{k}{sign}{str(pool[k]).lower() if k == 'paid' else pool[k]}" for k in keys)
    return chat(
        "json",
        f"{expand(rng.choice(JSON_ASK), rng)} {lines}",
        json.dumps({k: pool[k] for k in keys}),
    )


def make(rng: random.Random) -> Example:
    """One example of this group."""
    return rng.choices(
        (sort, keep, place, change, formal, plural, to_json), (16, 16, 14, 28, 4, 8, 14)
    )[0](rng)


def templates() -> list[str]:
    """The instruction templates of this group, as written."""
    return [
        *SORT,
        *KEEP,
        *PLACE,
        *(p for ps in CHANGE.values() for p in ps),
        *JSON_ASK,
        *FORMAL_ASK,
        *PLURAL_ASK,
    ]
