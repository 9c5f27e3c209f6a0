"""Sums, differences, products, counting, comparing and small word problems."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import random
from datetime import date, timedelta

from tinker_engine.base.curriculum.example import Example, bind, chance, chat, expand
from tinker_engine.base.curriculum.slots import FIRST, FRUIT, MONTHS, THINGS, price

SUM_FORMS = (
    "{a} {op} {b}", "{a} {op} {b} =", "{a} {op} {b} = ?", "{What is|Work out|Compute|Give me|Find|How much is} {a} {op} {b}?",
    "{Result of|Value of|Please solve}: {a} {op} {b}",
)  # fmt: skip
WORDS = {"+": ("plus", "added to"), "-": ("minus", "less"), "*": ("times", "multiplied by")}
STORIES = (
    (
        "{n} has {a} {t}s and {gets|finds|buys} {b} more. {How many {t}s does {n} have now|How many are there now}?",
        "+",
    ),
    (
        "There are {a} {t}s {on the shelf|in the box} and {b} {in the cellar|on the table}. {How many in all|What is the total}?",
        "+",
    ),
    (
        "{n} {owns|had} {a} {t}s and {sold|gave away|lost} {b}. {How many are left|What remains}?",
        "-",
    ),
    (
        "A {shop|store} had {a} {t}s {this morning|} and {b} were sold. {How many are left|How many remain}?",
        "-",
    ),
    (
        "{n} {buys|orders} {a} {t}s {at|for} {b} {coins|euros} each. {What does that cost|How much is it in all}?",
        "*",
    ),
    ("{Each|Every} box holds {b} {t}s. {How many are in|What do you get from} {a} boxes?", "*"),
)
COMPARE = (
    "{Which is|Name the} {WORD}: {A} or {B}?",
    "{A} {or|vs} {B}: {which is|what is the} {WORD}?",
    "{Pick|Give} the {WORD} of {A} and {B}.",
)
COUNT = (
    "How many {WHAT} are {in|there in} {this|the} list? {LIST}",
    "{LIST}\nCount the {WHAT}.",
    "Count {all|the} {WHAT}: {LIST}",
)


def _operands(op: str, rng: random.Random) -> tuple[int, int]:
    if op == "*":
        return rng.randint(2, 12), rng.randint(2, rng.choice((10, 12, 30)))
    top = rng.choice((10, 20, 100, 100, 1000))
    a, b = rng.randint(1, top), rng.randint(1, top)
    return (max(a, b), min(a, b)) if op == "-" else (a, b)


def _apply(op: str, a: int, b: int) -> int:
    return a + b if op == "+" else a - b if op == "-" else a * b


def calculate(rng: random.Random) -> Example:
    """A sum, difference or product in figures or words."""
    op = rng.choice("++--*")
    a, b = _operands(op, rng)
    sign = rng.choice((op, op, op, *WORDS[op]))
    if op == "*" and sign == "*":
        sign = rng.choice(("*", "x", "×"))
    if sign == "added to":
        a, b = b, a
    prompt = bind(rng.choice(SUM_FORMS), rng, {"a": str(a), "b": str(b), "op": sign})
    answer = str(_apply(op, a, b))
    if chance(rng, 0.15):
        return chat(
            "arithmetic",
            f"{prompt} {rng.choice(('Show the sum.', 'Write the whole equation.'))}",
            f"{a} {op} {b} = {answer}",
        )
    return chat("arithmetic", prompt, answer)


def story(rng: random.Random) -> Example:
    """A word problem of one step."""
    pattern, op = rng.choice(STORIES)
    a, b = _operands(op, rng)
    values = {"n": rng.choice(FIRST), "t": rng.choice(THINGS), "a": str(a), "b": str(b)}
    prompt = bind(pattern, rng, values)
    answer = _apply(op, a, b)
    if chance(rng, 0.4):
        return chat(
            "word-problem",
            f"{prompt} {rng.choice(('Show how.', 'Explain briefly.', 'With the sum.'))}",
            f"{a} {op} {b} = {answer}",
        )
    return chat("word-problem", prompt, str(answer))


def _in_words(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def compare(rng: random.Random) -> Example:
    """The larger or smaller of two numbers or prices, the earlier or later of two dates."""
    kind = rng.choice(("number", "number", "price", "date"))
    if kind == "date":
        start = date(2024, 1, 1) + timedelta(days=rng.randint(0, 1500))
        other = start + timedelta(days=rng.choice((-1, 1)) * rng.randint(1, 400))
        show = rng.choice((date.isoformat, _in_words))
        word = rng.choice(("earlier", "later", "first", "last"))
        low, high = sorted((start, other))
        a, b = show(start), show(other)
        answer = show(low if word in ("earlier", "first") else high)
    else:
        if kind == "price":
            a, b = price(rng), price(rng)
            value = {a: float(a[1:]), b: float(b[1:])}
            word = rng.choice(("cheaper", "dearer", "lower", "higher"))
        else:
            top = rng.choice((20, 100, 10000))
            a, b = (str(n) for n in rng.sample(range(top), 2))
            value = {a: float(a), b: float(b)}
            word = rng.choice(("larger", "smaller", "bigger", "greater", "lower"))
        is_low = word in ("cheaper", "lower", "smaller")
        answer = min(value, key=value.__getitem__) if is_low else max(value, key=value.__getitem__)
    return chat("compare", bind(rng.choice(COMPARE), rng, {"WORD": word, "A": a, "B": b}), answer)


def count(rng: random.Random) -> Example:
    """How many items a list has, or how often a letter stands in a word."""
    pool = list(rng.choice((FRUIT, THINGS, FIRST)))
    items = rng.sample(pool, rng.randint(2, 9))
    joined = rng.choice((", ", "; ", " ", "\n")).join(items)
    if chance(rng, 0.3):
        word = rng.choice(items)
        letter = rng.choice(word.lower())
        ask = expand("How often {does|is} the letter {L} {occur|used} in {W}?", rng).replace(
            "L", f"'{letter}'", 1
        )
        ask = (
            f"How many times is '{letter}' in {word}?"
            if chance(rng, 0.5)
            else ask.replace("W", word)
        )
        return chat("count", ask, str(word.lower().count(letter)))
    what = rng.choice(("words", "items", "entries", "things"))
    return chat(
        "count", bind(rng.choice(COUNT), rng, {"WHAT": what, "LIST": joined}), str(len(items))
    )


def make(rng: random.Random) -> Example:
    """One example of this group."""
    return rng.choices((calculate, story, compare, count), (40, 25, 20, 15))[0](rng)


def templates() -> list[str]:
    """The instruction templates of this group, as written."""
    return [*SUM_FORMS, *(s for s, _ in STORIES), *COMPARE, *COUNT]
