"""Tasks about short customer messages: intent, team, place, mood; with lists, without, and by example."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import random

from tinker_engine.base.curriculum.example import Example, Message, chance, chat, expand
from tinker_engine.base.curriculum.labels import arbitrary, draw_style, spell
from tinker_engine.base.curriculum.messages import (
    TONE_WEIGHTS,
    CustomerMessage,
    Intent,
    any_message,
    by_domain,
    compose,
    intents,
)
from tinker_engine.base.curriculum.slots import firm

FIELDS = (
    "message", "text", "customer", "request", "mail", "chat", "note", "question", "comment", "body", "inquiry", "input", "utterance",
    "Customer message", "Incoming text", "Contact form", "What they wrote",
)  # fmt: skip
ASK_INTENT = (
    "{what is|name|tell me|give me|write} {this message about|the {topic|intent|concern|subject|reason} {of this message|behind these words|here|}}",
    "{tag|label|sort|file} {this|the} {message|request|note|enquiry} {by topic|with its intent|under its subject|}",
    "{which|what} {intent|topic|issue|matter} {is this|does this person raise|does the customer have|fits}",
    "{put|write} {one|the best|a short} {topic|intent|subject} label {on|for} {this|the text below|what follows}",
    "{read|look at} {this|the message} and {name|state} {the|its} {intent|concern|topic}",
    "{intent|topic|subject|category|issue|concern}{?|:|}",
)
ASK_TEAM = (
    "{which|what} {team|desk|department|unit|queue} {should|must|can} {handle|take|answer|get} {this|the message|this one}",
    "{route|forward|pass|hand} {this|the {message|request}} {to|on to} {the right|a} {team|desk|department}",
    "{who|which desk} {in the firm|on our side|} {is responsible for|deals with|looks after} {this|that request}",
    "{team|desk|department|queue|responsible}{?|:|}",
    "{name|give|write} the {team|desk|department} {for|of} {this|the} {ticket|message|text}",
)
ASK_PLACE = (
    "{what kind of|which} {business|place|organisation|service} {is|was} this {written|sent|addressed} to",
    "{to whom|where} {does this customer write|was this sent|is this message going}",
    "{guess|name} the {trade|business|sector} {from|behind} {the message|these lines|this note}",
    "{sector|line of business|kind of firm}{?|:|}",
)
ASK_MOOD = (
    "{what is|name} the {mood|tone} {of the writer|here|of this message}",
    "{how does|in what mood is} {the writer|this person} {feel|write|sound}",
    "{mood|tone}{?|:|}",
)
ASK_SAME = (
    "{Do|Would you say} these two {messages|people} {mean|want|ask for} the same{ thing|}?",
    "{Is it|Are both} about one and the same {thing|matter}?",
    "{Same|Equal} {concern|request|topic}{ in both|}?",
)
STYLE_HINTS = {
    "snake": ("{use|write in|in} snake_case", "lower case with underscores"),
    "title": ("{use|in} Title Case", "capitalise each word"),
    "upper_snake": ("{in|use} UPPER_CASE", "capitals with underscores"),
    "kebab": ("with hyphens", "in kebab-case"),
    "camel": ("in CamelCase",),
    "lower": ("{in|use} {small letters|plain words|lower case}",),
    "sentence": ("as a {short|} phrase",),
}
LISTS = (
    "{Options|Labels|Choices|Choose from|Pick one|Allowed|Possible answers|Select from}: ",
    "{one of|either of|from this list}: ",
    "{Labels to use|Our labels|Known topics|Available values}:",
)
SYSTEMS = (
    "You {sort|label|route} {messages|mail|requests} for {firm}.",
    "{Answer|Reply} with {the|one} label {only|and nothing else}.",
    "{You work|You are} {at|for} the {front desk|mail room} of {firm}. {Be brief.|Short answers.|}",
    "{Classify|Label|Sort} what {customers|people|callers} {write|say}.",
    "{Each|Every} message gets {one|a single} label.",
    "{Name|State} the {topic|intent} of every {message|text}.",
)


def _frame(instruction: str, body: str, rng: random.Random) -> str:
    """Instruction and message in one of many layouts; an empty instruction gives the plain forms."""
    field = rng.choice(FIELDS)
    if not instruction:
        return rng.choice((body, body, body, f"{field}: {body}", f"{field}: {body}"))
    if chance(rng, 0.7):
        instruction = instruction[:1].upper() + instruction[1:]
    if instruction[-1] not in ":?.":
        instruction += rng.choice(
            (
                ":",
                ".",
                "",
                "?" if instruction.split()[0].lower() in ("which", "what", "who", "how") else ":",
            )
        )
    layouts = (
        f"{instruction}\n{body}", f"{instruction}\n\n{body}", f"{instruction} {body}", f'{instruction} "{body}"',
        f"{body}\n{instruction}", f"{body}\n\n{instruction}", f"{instruction}\n{field}: {body}", f"{field}: {body}\n{instruction}",
        f"{instruction}\n---\n{body}\n---", f"<{field}>{body}</{field}>\n{instruction}", f"'{body}' {instruction}",
    )  # fmt: skip
    return rng.choice(layouts)


def _system(rng: random.Random, probability: float) -> str:
    if not chance(rng, probability):
        return ""
    return expand(rng.choice(SYSTEMS).replace("{firm}", firm(rng)), rng)


def _listing(options: list[str], rng: random.Random) -> str:
    head = expand(rng.choice(LISTS), rng)
    if chance(rng, 0.4):
        return head + "\n" + "\n".join(rng.choice(("- ", "* ")) + option for option in options)
    return head + " " + rng.choice((", ", " | ", "; ", " / ")).join(options)


def _target(message: CustomerMessage, what: str, rng: random.Random) -> tuple[str, list[str]]:
    """The right name for `what` and names of wrong ones of the same kind."""
    intent = message.intent
    if what == "mood":
        return message.tone, [t for t in TONE_WEIGHTS if t != message.tone]
    group = by_domain()[intent.domain]
    if what == "team":
        return intent.team, sorted({i.team for i in group} - {intent.team})
    if what == "place":
        return rng.choice(intent.domain_names), [d for d in by_domain() if d != intent.domain]
    wrong = [rng.choice(i.names) for i in group if i is not intent]
    if chance(rng, 0.3):
        wrong = [rng.choice(i.names) for i in rng.sample(intents(), 12) if i is not intent]
    return rng.choice(intent.names), wrong


ASKS = {"intent": ASK_INTENT, "team": ASK_TEAM, "place": ASK_PLACE, "mood": ASK_MOOD}


def classify(rng: random.Random) -> Example:
    """One message, one label; in more than half of the cases without any list of labels."""
    message = any_message(rng)
    what = rng.choices(("intent", "team", "place", "mood"), (66, 18, 10, 6))[0]
    right, wrong = _target(message, what, rng)
    style = draw_style(rng)
    answer = spell(right, style)
    has_list = what == "mood" or chance(rng, 0.35)
    instruction = (
        ""
        if what == "intent" and not has_list and chance(rng, 0.45)
        else expand(rng.choice(ASKS[what]), rng)
    )
    if instruction and not has_list and chance(rng, 0.5):
        hint = expand(rng.choice(STYLE_HINTS[style]), rng)
        instruction = f"{instruction.rstrip(':?')} ({hint})"
    if has_list:
        options = [spell(w, style) for w in rng.sample(wrong, min(len(wrong), rng.randint(1, 9)))]
        options = list(dict.fromkeys([*options, answer]))
        rng.shuffle(options)
        listing = _listing(options, rng)
        body = message.text
        prompt = rng.choice(
            (
                f"{_frame(instruction, body, rng)}\n{listing}",
                f"{listing}\n{_frame(instruction, body, rng)}",
            )
        )
        return chat(f"route-{what}-list", prompt, answer, system=_system(rng, 0.2))
    accepted = {"team": (right,), "place": message.intent.domain_names}.get(
        what, message.intent.names
    )
    prompt = _frame(instruction, message.text, rng)
    system = _system(rng, 0.25)
    return chat(f"route-{what}", prompt, answer, system=system, is_exact=False, accepted=accepted)


def follow_up(rng: random.Random) -> Example:
    """Several questions about one message: topic, team, mood, kind of business, a short summary."""
    message = any_message(rng)
    style = draw_style(rng)
    turns: list[Message] = []
    for n, what in enumerate(
        rng.sample(("intent", "team", "place", "mood", "summary"), rng.randint(2, 4))
    ):
        if what == "summary":
            ask = expand("{in a few words|summarise|short version|in brief}{ please|}", rng)
            right = "; ".join(rng.sample(message.intent.names, 2))
        else:
            ask = expand(rng.choice(ASKS[what]), rng)
            right = spell(_target(message, what, rng)[0], style)
        turns.append({"role": "user", "content": _frame(ask, message.text, rng) if n == 0 else ask})
        turns.append({"role": "assistant", "content": right})
    return Example("route-follow-up", turns, is_exact=False)


def by_example(rng: random.Random) -> Example:
    """Few-shot: labels invented for this prompt, bound to meanings by two to six examples."""
    count = rng.randint(2, 4)
    group = rng.choice(list(by_domain().values())) if chance(rng, 0.6) else intents()
    chosen: list[Intent] = rng.sample(group, count)
    if chance(rng, 0.6):
        names = arbitrary(count, rng)
    else:
        style = draw_style(rng)
        names = [spell(rng.choice(i.names), style) for i in chosen]
    shots = [*range(count), *(rng.randrange(count) for _ in range(rng.randint(0, 6 - count)))]
    rng.shuffle(shots)
    pairs = [(compose(chosen[k], rng).text, names[k]) for k in shots]
    k = rng.randrange(count)
    query = compose(chosen[k], rng).text
    layout = rng.randrange(4)
    if layout == 0:  # as turns
        turns: list[Message] = []
        system = _system(rng, 0.4)
        if system:
            turns.append({"role": "system", "content": system})
        for text, name in [*pairs, (query, names[k])]:
            turns.append({"role": "user", "content": text})
            turns.append({"role": "assistant", "content": name})
        return Example("route-by-example", turns)
    arrow = rng.choice((" -> ", " => ", " = ", "\n", " | ", ": "))
    ends = rng.choice(("\n", "\n\n"))
    head = expand("{|Examples:|Like this:|Learn the labels:|Here is how we {label|sort}:}", rng)
    lines = [f"{text}{arrow}{name}" for text, name in pairs]
    ask = expand("{Now|Next|And this|Your turn|New message|Label this|Same for}{:|}", rng)
    return chat(
        "route-by-example", f"{head}\n{ends.join(lines)}{ends}{ask} {query}".strip(), names[k]
    )


def same_meaning(rng: random.Random) -> Example:
    """Do two messages ask for the same thing?"""
    first = rng.choice(intents())
    is_same = chance(rng, 0.5)
    near = by_domain()[first.domain] if chance(rng, 0.6) else intents()
    second = first if is_same else rng.choice([i for i in near if i is not first])
    ask = expand(rng.choice(ASK_SAME), rng)
    a, b = compose(first, rng).text, compose(second, rng).text
    one, two = rng.choice((("A", "B"), ("1", "2"), ("first", "second"), ("one", "two")))
    pair = rng.choice((f"{one}: {a}\n{two}: {b}", f'"{a}"\n"{b}"', f"{one}) {a}\n{two}) {b}"))
    answer = rng.choice(("yes", "Yes", "yes")) if is_same else rng.choice(("no", "No", "no"))
    return chat("route-same", rng.choice((f"{ask}\n{pair}", f"{pair}\n{ask}")), answer.lower())


def nearest(rng: random.Random) -> Example:
    """Which of several messages is about the same thing as a given one?"""
    count = rng.randint(2, 4)
    group = rng.choice(list(by_domain().values())) if chance(rng, 0.5) else intents()
    chosen = rng.sample(group, count)
    k = rng.randrange(count)
    query = compose(chosen[k], rng).text
    marks = rng.choice(("ABCD", "1234", "abcd"))
    lines = "\n".join(
        f"{marks[n]}{rng.choice((')', '.', ':'))} {compose(i, rng).text}"
        for n, i in enumerate(chosen)
    )
    ask = expand(
        "{Which|Find the one that} {is about the same {thing|matter} as|has the same concern as|matches|means the same as}",
        rng,
    )
    return chat(
        "route-nearest",
        rng.choice((f'{ask} "{query}"?\n{lines}', f"{lines}\n{ask}: {query}")),
        marks[k],
    )


TASKS = ((classify, 62), (follow_up, 14), (by_example, 14), (same_meaning, 5), (nearest, 5))


def make(rng: random.Random) -> Example:
    """One example of this group."""
    task = rng.choices([t for t, _ in TASKS], [w for _, w in TASKS])[0]
    return task(rng)


def templates() -> list[str]:
    """The instruction templates of this group, as written."""
    return [*ASK_INTENT, *ASK_TEAM, *ASK_PLACE, *ASK_MOOD, *ASK_SAME, *SYSTEMS]
