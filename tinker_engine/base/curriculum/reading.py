"""Reading invented records, notices, price lists and rules of invented firms, and extracting fields."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import json
import random
from dataclasses import dataclass

from tinker_engine.base.curriculum import slots
from tinker_engine.base.curriculum.example import Example, bind, chance, chat, expand

UNKNOWN = "I don't know."


@dataclass(frozen=True)
class Fact:
    """A field of a record: how a sentence states it, how a question asks for it, how a value is drawn."""

    key: str
    says: str
    asks: str
    value: str


FACTS = (
    Fact("opening time", "{They open|{F} opens|Doors open} at {V}{ every day|}.", "{When|At what time} does {F} open?", "[time]"),
    Fact("closing time", "{It closes|The doors close|{F} shuts} at {V}.", "{When|At what time} does {F} {close|shut}?", "[time]"),
    Fact("manager", "{The manager|The head of the branch|The person in charge} is {V}.", "Who {is in charge of|manages|leads} {F}?", "[person]"),
    Fact("phone", "{Call|Ring|The number is} {V}{ for help|}.", "{What is the phone number of|Which number do I call for} {F}?", "[phone]"),
    Fact("email", "{Write to|Mail goes to|Send questions to} {V}.", "{What is the e-mail address of|Where do I write to} {F}?", "[email]"),
    Fact("city", "{F} {is based in|has its main office in|works from} {V}.", "{Where|In which city} is {F}{ based|}?", "[city]"),
    Fact("founded", "{It was founded|The firm was started} {on|} {V}.", "When was {F} {founded|started}?", "[date]"),
    Fact("founder", "{V} {founded it|started the firm|is the founder}.", "Who {founded|started} {F}?", "[person]"),
    Fact("delivery time", "{Delivery|Shipping} takes {V} days.", "How {long|many days} does {delivery|shipping} {take|from {F} take}?", "[number]"),
    Fact("delivery price", "{Delivery|Shipping} costs {V}.", "{What|How much} does {delivery|shipping} {at {F} |}cost?", "[amount]"),
    Fact("staff", "{The firm|{F}} has {V} {employees|staff|workers}.", "How many {employees|people} {does {F} have|work at {F}}?", "[number]"),
    Fact("colour", "{The logo|Its van|The uniform} is {V}.", "{What|Which} colour is {used by|the mark of} {F}?", "[colour]"),
    Fact("product", "{The best seller|Its main product|What sells most} is the {V}.", "{What is the best seller of|Which product sells most at} {F}?", "[thing]"),
    Fact("return period", "{Goods|Items} may come back within {V} days.", "How {long|many days} do {I|customers} have to {return|bring back} goods{ to {F}|}?", "[number]"),
    Fact("reference", "{The file|The record} carries the {number|code} {V}.", "{What is the file code|Which code does the record of {F} carry}{ of {F}|}?", "[code]"),
    Fact("closed day", "{F} {is closed|stays shut} {V}.", "On which day is {F} closed?", "[day]"),
    Fact("market", "{It sells|Most goods go} to {V}.", "{Which country does {F} sell to|Where do most goods go}?", "[country]"),
)  # fmt: skip
ASK_KEY = ("{K}?", "{What is|Give} the {K}{ of {F}|}?", "{K} of {F}:", "{Find|Look up} the {K}.")
FRAMES = (
    "{Use|Answer from|Look at} {this|the} {notice|record|text}:",
    "{Notice|Record|About the firm|From the leaflet}:",
    "{|}",
    "{Only the text below counts|Answer only from this}.",
)
YES_NO = ("Is the {K} {V}?", "Is it {true|right} that the {K} is {V}?", "{K} {V}: right?")
EXTRACT = {
    "email": (
        "{Find|Copy|Pull out|Extract} the {e-mail|mail address|address with @}",
        "mail address{?|:}",
    ),
    "date": ("{Find|Copy|Extract} the date", "which day is named?"),
    "code": (
        "{Find|Copy|Extract|Read out} the {order|reference|case} {number|code}",
        "order code{?|:}",
    ),
    "amount": ("{Find|Copy|Extract} the {price|sum|amount}", "how much {money|}?"),
    "person": ("{Find|Copy|Extract} the {name|person}", "who is it about?"),
    "phone": ("{Find|Copy|Extract} the phone number", "which number {to call|}?"),
    "city": ("{Find|Copy|Extract} the {city|place}", "which town?"),
}
SENTENCES = (
    "{person} {wrote|asked} {on {date}|} about {order|case} {code}, worth {amount}{, from {city}|}. {Reply to|Answer at} {email}.",
    "{Hello|Hi}, {I am|this is} {person}{ from {city}|}. My {order|booking} {code} {of|from} {date} {is still open|has a fault}. {Call|Reach} me {on|at} {phone}.",
    "{Order|Invoice} {code}: {amount}{, due {date}|}. {Contact|Buyer}: {person}, {email}{, {city}|}.",
    "On {date} {person} {paid|sent} {amount} {for|under} {code}{; questions to {email}|}{ or {phone}|}.",
    "{Meeting|Visit} with {person} in {city} {on {date}|}. {Bring|Quote} {code}. {Phone|Tel.}: {phone}.",
)
RULES = (
    (
        "{Orders|Baskets} {above|over} {N} euros {ship|are sent} free; {all others|the rest} pay {P}.",
        "{A basket|An order} is {X} euros. {What is|How much is} the {shipping|postage}?",
        "free",
        "{P}",
    ),
    (
        "{Guests|Visitors} {under|younger than} {N} {enter free|pay nothing}; {older ones|others} pay {P}.",
        "{A visitor|A guest} is {X} years old. {What is the price|How much}?",
        "{P}",
        "free",
    ),
    (
        "{Requests|Forms} {above|over} {N} {pages|points} go to desk {A}, {others|the rest} to desk {B}.",
        "{This one|The form} has {X}. Which desk?",
        "{A}",
        "{B}",
    ),
    (
        "If {it is|the score is} {above|more than} {N}, answer {A}; {otherwise|if not}, answer {B}.",
        "{The score is|It is} {X}.",
        "{A}",
        "{B}",
    ),
)


def record(rng: random.Random) -> Example:
    """A notice about a firm and a question; one in six asks for what isn't there."""
    firm = slots.firm(rng)
    facts = rng.sample(FACTS, rng.randint(2, 6))
    asked = rng.choice(facts)
    is_missing = chance(rng, 0.16)
    values = {f.key: slots.fill(f.value, rng) for f in facts}
    shown = [f for f in facts if f is not asked or not is_missing]
    if chance(rng, 0.6):
        body = " ".join(bind(f.says, rng, {"F": firm, "V": values[f.key]}) for f in shown)
        if firm not in body:
            body = expand(f"{{This is about|Some facts on|News from}} {firm}. ", rng) + " " + body
    else:
        end = rng.choice(("\n", "\n", "; ", " | "))
        sign = rng.choice((": ", " = ", " - "))
        body = (
            firm
            + (":" if end != "\n" else "")
            + rng.choice(("\n", " "))
            + end.join(f"{f.key}{sign}{values[f.key]}" for f in shown)
        )
    answer = values[asked.key]
    if chance(rng, 0.14) and not is_missing:
        is_true = chance(rng, 0.5)
        claim = answer if is_true else slots.fill(asked.value, rng)
        ask = bind(rng.choice(YES_NO), rng, {"K": asked.key, "V": claim})
        answer = "yes" if claim == answer else "no"
        family = "read-yes-no"
    else:
        ask = bind(
            asked.asks if chance(rng, 0.6) else rng.choice(ASK_KEY),
            rng,
            {"F": firm, "K": asked.key},
        )
        answer, family = (UNKNOWN, "read-unknown") if is_missing else (answer, "read-record")
    ask = ask[:1].upper() + ask[1:]
    frame = expand(rng.choice(FRAMES), rng)
    return chat(
        family,
        rng.choice(
            (f"{frame}\n{body}\n\n{ask}", f"{frame}\n{body}\n{ask}", f"{ask}\n\n{body}")
        ).strip(),
        answer,
    )


def extract(rng: random.Random) -> Example:
    """Copy one field of a sentence, or several as JSON; a field that is absent is unknown or null."""
    who = slots.person(rng)
    values = {key: slots.SLOTS[key](rng) for key in ("date", "code", "amount", "phone", "city")}
    values |= {"person": who, "email": slots.email(rng, who)}
    text = bind(rng.choice(SENTENCES), rng, values)
    present = [key for key, value in values.items() if value in text]
    absent = [key for key in values if key not in present]
    if chance(rng, 0.25):
        keys = rng.sample(present, rng.randint(1, 3)) + (
            rng.sample(absent, 1) if absent and chance(rng, 0.3) else []
        )
        ask = (
            expand("{Extract|Give|Fill in|Return} {as|} JSON{ with|:}", rng) + " " + ", ".join(keys)
        )
        answer = json.dumps(
            {k: values[k] if k in present else None for k in keys}, ensure_ascii=False
        )
        family = "extract-json"
    else:
        is_missing = bool(absent) and chance(rng, 0.15)
        key = rng.choice(absent if is_missing else present)
        ask = expand(rng.choice(EXTRACT[key]), rng)
        answer, family = (UNKNOWN, "extract-unknown") if is_missing else (values[key], "extract")
    ask = ask[:1].upper() + ask[1:]
    return chat(
        family,
        rng.choice(
            (f"{ask.rstrip(':?')}: {text}", f"{text}\n{ask}", f"{ask}\n{text}", f'"{text}" {ask}')
        ),
        answer,
    )


def table(rng: random.Random) -> Example:
    """Look a cell up in a small table."""
    rows = rng.sample(slots.THINGS, rng.randint(2, 5))
    columns = rng.sample(
        ("price", "stock", "colour", "country", "code", "weight"), rng.randint(2, 3)
    )
    draw = {
        "price": "[amount]",
        "stock": "[number]",
        "colour": "[colour]",
        "country": "[country]",
        "code": "[code]",
        "weight": "[number] kg",
    }
    cells = {(r, c): slots.fill(draw[c], rng) for r in rows for c in columns}
    if chance(rng, 0.5):
        lines = [f"| item | {' | '.join(columns)} |", "|" + "---|" * (len(columns) + 1)]
        lines += [f"| {r} | {' | '.join(cells[r, c] for c in columns)} |" for r in rows]
    else:
        sign = rng.choice((",", ", ", ";", "\t"))
        lines = [
            sign.join(("item", *columns)),
            *(sign.join((r, *(cells[r, c] for c in columns))) for r in rows),
        ]
    row, column = rng.choice(rows), rng.choice(columns)
    answer = cells[row, column]
    unique = [c for c in columns if sum(cells[r, c] == cells[row, c] for r in rows) == 1]
    kind = rng.random()
    if kind < 0.2 and unique:
        column = rng.choice(unique)
        ask, answer = f"Which item has the {column} {cells[row, column]}?", row
    elif kind < 0.32:
        ask, answer = (
            f"{column} of the {rng.choice([t for t in slots.THINGS if t not in rows])}?",
            UNKNOWN,
        )
    elif kind < 0.4:
        ask, answer = (
            expand("{How many|Count the} {items|rows}{ are listed|}?", rng),
            str(len(rows)),
        )
    else:
        ask = expand(
            f"{{What is the {column} of|{column} of|Find the {column} for|Give {column}:}} the {row}{{?|}}",
            rng,
        )
    body = "\n".join(lines)
    return chat(
        "table", rng.choice((f"{body}\n{ask}", f"{body}\n\n{ask}", f"{ask}\n{body}")), answer
    )


def rule(rng: random.Random) -> Example:
    """A rule with a limit and a case to decide."""
    rule_text, case, above, below = rng.choice(RULES)
    limit = rng.randint(5, 90)
    x = rng.choice([n for n in range(1, 120) if n != limit])
    first, second = rng.sample(
        (
            "red",
            "blue",
            "A",
            "B",
            "north",
            "south",
            "yes",
            "no",
            "wait",
            "go",
            "left",
            "right",
            "7",
            "12",
        ),
        2,
    )
    values = {"N": str(limit), "P": slots.amount(rng), "A": first, "B": second, "X": str(x)}
    answer = bind(above if x > limit else below, rng, values)
    rule_line, question = bind(rule_text, rng, values), bind(case, rng, values)
    return chat(
        "rule",
        rng.choice(
            (
                f"{rule_line}\n{question}",
                f"{rule_line} {question}",
                f"Rule: {rule_line}\nCase: {question}",
            )
        ),
        answer,
    )


def make(rng: random.Random) -> Example:
    """One example of this group."""
    return rng.choices((record, extract, table, rule), (40, 30, 18, 12))[0](rng)


def templates() -> list[str]:
    """The instruction templates of this group, as written."""
    return [
        *(f.says for f in FACTS), *(f.asks for f in FACTS), *ASK_KEY, *FRAMES, *YES_NO, *(p for ps in EXTRACT.values() for p in ps),
        *SENTENCES, *(r[0] for r in RULES), *(r[1] for r in RULES),
    ]  # fmt: skip
