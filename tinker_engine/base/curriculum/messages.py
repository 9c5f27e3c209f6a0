"""Short customer messages composed from the phrase lists of `domains/`, with tone, register and typos.

A message carries what it was made from (domain, intent, team, tone), so that every task about
messages can ask for any of these. No message is stored: each is drawn afresh.
"""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import random
from dataclasses import dataclass
from functools import lru_cache

from tinker_engine.base.curriculum.domains import commerce, leisure, money, services, travel
from tinker_engine.base.curriculum.example import chance, expand
from tinker_engine.base.curriculum.slots import fill


@dataclass(frozen=True)
class Intent:
    """One thing customers of a domain write about; `names` are equivalent label names."""

    domain: str
    domain_names: tuple[str, ...]
    names: tuple[str, ...]
    team: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class CustomerMessage:
    """A composed message and what it is about."""

    text: str
    intent: Intent
    tone: str


TONES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "calm": (
        ("", "", "", "", "", "", "", "", "hi", "hello", "hi there", "good morning", "hey", "quick question", "a question"),
        ("", "", "", "", "", "", "", "", "thanks", "thank you", "what do you suggest", "let me know", "how does that work"),
    ),
    "polite": (
        ("hello {team|all|everyone}", "{dear|kind} {team|people}", "{sorry|excuse me} {to bother you|for asking}",
         "i {hope you can|would be glad if you could} help", "good {day|evening|afternoon}", "{would|could} you kindly help"),
        ("many thanks {in advance|for your help|}", "{that would be|it'd be} {lovely|very kind}", "{have a|wishing you a} {nice|good} {day|week}",
         "{kind|warm} regards [first]", "i {really|} appreciate it", "thank you {so much|very much}"),
    ),
    "angry": (
        ("{this is|it's} {ridiculous|unbelievable|a joke|outrageous}", "i am {furious|fed up|so annoyed|really angry}",
         "{worst|terrible|awful} {service|company} ever", "{seriously|honestly|wow}", "{not again|how hard can it be}", "{third|fifth} time i {write|ask}"),
        ("{sort it out|fix this} {now|!}", "i {expect|want} {an answer|an apology}", "{never again|you lost a customer}", "{what a mess|shameful|pathetic}",
         "i will {complain|leave} {if nothing happens|}", "{nobody|no one} {cares|answers} {there|at all}"),
    ),
    "urgent": (
        ("{urgent|help|emergency|asap}", "{please hurry|i need help right now}", "{very urgent|quickly please}"),
        ("{i need|please give me} an answer {today|within the hour|right now}", "it's {really|very} {urgent|pressing}", "{please be quick|as fast as you can}",
         "{i leave|we leave} in {an hour|two hours}", "{it can't wait|time is short}", "please call me {at once|immediately}"),
    ),
    "happy": (
        ("{great|lovely|wonderful} {place|service|team}", "i {love|really like} {your|the} {shop|service|app}", "{big fan|long time customer}"),
        ("{keep it up|you are great}", "{otherwise|apart from that} {all perfect|very happy}", "{you're always|always so} {friendly|kind}", "{love it|best team}"),
    ),
}  # fmt: skip
TONE_WEIGHTS = {"calm": 70, "polite": 9, "angry": 10, "urgent": 7, "happy": 4}
SHORT_FORMS = {
    "i am": "im", "i'm": "im", "don't": "dont", "can't": "cant", "you": "u", "please": "pls", "because": "cos", "and": "&",
    "with": "w", "message": "msg", "what's": "whats", "didn't": "didnt", "there is": "theres", "thanks": "thx", "are": "r",
    "your": "ur", "it's": "its", "tomorrow": "tmrw", "isn't": "isnt", "won't": "wont", "going to": "gonna", "people": "ppl",
}  # fmt: skip


SYNONYMS: dict[str, tuple[str, ...]] = {
    "i want to": ("i'd like to", "i wish to", "i need to", "looking to", "trying to", "my plan is to", "i'm hoping to"),
    "i'd like to": ("i want to", "i would love to", "i intend to", "we'd like to"),
    "can i": ("could i", "may i", "am i able to", "is there a way to", "any chance i can", "would it be possible to", "do you let me"),
    "how do i": ("how can i", "how to", "what's the way to", "what must i do to", "please explain how to", "tell me how to", "no idea how to"),
    "where do i": ("where can i", "in which place do i", "where would i", "where should i"),
    "when do i": ("at what point do i", "how soon will i", "on which date do i"),
    "i need": ("i require", "i'm after", "i could use", "we need", "please get me", "i'm looking for"),
    "please": ("kindly", "could you", "can you", "would you", "i ask you to"),
    "can you": ("could you", "would you", "are you able to", "please", "will you"),
    "do you": ("would you", "does your firm", "do you guys", "do they"),
    "is there": ("do you have", "have you got", "does there exist", "might there be", "i wonder if there is"),
    "why": ("how come", "for what reason", "what is the reason", "explain why", "don't see why"),
    "how much": ("what price", "how many euros", "what sum", "how much money"),
    "how long": ("how much time", "for how long", "how many days"),
    "never came": ("did not come", "hasn't come", "failed to come", "is yet to come", "still has not come"),
    "doesn't work": ("isn't working", "won't work", "is not working", "fails", "has packed up", "stopped working", "refuses to work"),
    "is broken": ("broke", "has broken", "is bust", "is defective", "has a fault", "gave up", "is damaged"),
    "stolen": ("nicked", "robbed", "taken", "pinched", "swiped"), "lost": ("mislaid", "misplaced", "lost", "have lost"),
    "wrong": ("incorrect", "not right", "mistaken", "false", "in error"), "gone": ("missing", "nowhere to be found", "no longer there", "vanished"),
    "bill": ("invoice", "bill", "statement"), "fee": ("charge", "fee", "cost", "surcharge"), "money": ("funds", "cash", "money", "dough"),
    "got": ("received", "was given", "have", "ended up with"), "sent": ("mailed", "posted", "forwarded", "dispatched"),
    "pay": ("pay", "settle", "cough up", "hand over"), "buy": ("purchase", "get", "order", "pick up"), "bought": ("purchased", "ordered", "paid for"),
    "change": ("alter", "modify", "update", "switch"), "cancel": ("call off", "drop", "scrap", "undo"), "stop": ("end", "halt", "quit", "put an end to"),
    "book": ("reserve", "arrange", "schedule", "sign up for"), "fix": ("repair", "sort out", "mend", "look at"), "help": ("assist", "help", "support"),
    "late": ("delayed", "behind time", "overdue", "late"), "kids": ("children", "little ones", "boys", "girls"), "flat": ("apartment", "place", "home"),
    "phone": ("mobile", "handset", "cell phone", "smartphone"), "son": ("boy", "kid", "child", "nephew"), "daughter": ("girl", "child", "niece"),
    "still": ("still", "even now", "up to now", "as of today"), "wife": ("partner", "husband", "spouse"), "loud": ("noisy", "deafening", "loud"),
    "nobody": ("no one", "not a soul", "nobody"), "is full": ("has no room", "is packed", "is full"), "too small": ("tiny", "not big enough", "too little"),
    "dirty": ("filthy", "grubby", "unclean"), "cold": ("freezing", "chilly", "icy", "cold"), "expired": ("ran out", "lapsed", "is past its date"),
    "send": ("mail", "post", "forward", "get"), "tell me": ("let me know", "inform me", "say"), "many": ("lots of", "many", "plenty of"),
}  # fmt: skip


def _reword(text: str, rng: random.Random) -> str:
    padded = f" {text} "
    for phrase, others in SYNONYMS.items():
        if f" {phrase} " in padded and rng.random() < 0.5:
            padded = padded.replace(f" {phrase} ", f" {rng.choice(others)} ", 1)
    return padded.strip()


def _read(text: str) -> list[Intent]:
    intents: list[Intent] = []
    domain = ""
    domain_names: tuple[str, ...] = ()
    for line in text.strip().splitlines():
        if line.startswith("# "):
            domain_names = tuple(line[2:].split(", "))
            domain = domain_names[0]
        elif line:
            head, _, body = line.partition(": ")
            names, _, team = head.partition(" @")
            patterns = tuple(part.strip() for part in body.split(";"))
            intents.append(Intent(domain, domain_names, tuple(names.split(", ")), team, patterns))
    return intents


@lru_cache(maxsize=1)
def intents() -> tuple[Intent, ...]:
    """Every intent of every domain, in file order."""
    return tuple(i for m in (commerce, money, travel, services, leisure) for i in _read(m.TEXT))


@lru_cache(maxsize=1)
def by_domain() -> dict[str, tuple[Intent, ...]]:
    """Intents grouped by the first name of their domain."""
    groups: dict[str, list[Intent]] = {}
    for intent in intents():
        groups.setdefault(intent.domain, []).append(intent)
    return {name: tuple(group) for name, group in groups.items()}


def typo(text: str, rng: random.Random) -> str:
    """The text with one slip of the finger: a swap, a drop, a doubling or a missing space."""
    at = rng.randrange(max(1, len(text) - 1))
    kind = rng.randrange(4)
    if not text[at : at + 2].isalpha():
        return text.replace(" ", "", 1) if kind == 3 and text.count(" ") > 3 else text
    if kind == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    return text[: at + 1] + text[at:]


def _sentence(text: str, rng: random.Random, is_loud: bool) -> str:
    first = text.split(" ", 1)[0]
    is_question = first in {
        "how", "what", "when", "where", "why", "who", "which", "can", "could", "is", "are", "do", "does", "did", "may", "will",
        "has", "would", "am", "must", "until",
    }  # fmt: skip
    mark = "?" if is_question else rng.choice("!!.") if is_loud else "."
    return text + mark


def _style(parts: list[str], rng: random.Random, is_loud: bool) -> str:
    parts = [part for part in parts if part]
    register = rng.random()
    if register < 0.45:  # written with care
        text = " ".join(s[:1].upper() + s[1:] for s in (_sentence(p, rng, is_loud) for p in parts))
        for short in ("i", "i'm", "i've", "i'd"):
            text = text.replace(f" {short} ", f" {short[0].upper()}{short[1:]} ")
    elif register < 0.75:  # small letters, some punctuation
        text = rng.choice((", ", ". ", " ", " - ", "... ")).join(parts)
        if chance(rng, 0.5):
            text = (
                _sentence(text, rng, is_loud)
                if len(parts) == 1
                else text + rng.choice(("", "?", ".", "!"))
            )
    elif register < 0.95:  # chat style
        text = rng.choice((", ", " ", " ", "\n")).join(parts)
        for long, short in SHORT_FORMS.items():
            if chance(rng, 0.6):
                text = f" {text} ".replace(f" {long} ", f" {short} ").strip()
    else:
        text = " ".join(_sentence(p, rng, is_loud) for p in parts).upper()
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2))):
        text = typo(text, rng)
    return text


def compose(intent: Intent, rng: random.Random, tone: str | None = None) -> CustomerMessage:
    """A fresh message about `intent`; the tone is drawn when none is given."""
    if tone is None:
        tone = rng.choices(list(TONE_WEIGHTS), list(TONE_WEIGHTS.values()))[0]
    openers, closers = TONES[tone]
    count = 2 if len(intent.patterns) > 1 and chance(rng, 0.18) else 1
    cores = [_reword(fill(expand(p, rng), rng), rng) for p in rng.sample(intent.patterns, count)]
    opener, closer = expand(rng.choice(openers), rng), expand(rng.choice(closers), rng)
    if tone != "calm":  # a tone must be heard at least once
        opener, closer = rng.choice(((opener, ""), ("", closer), (opener, closer)))
    return CustomerMessage(
        _style([opener, *cores, fill(closer, rng)], rng, tone in ("angry", "urgent")), intent, tone
    )


def any_message(rng: random.Random) -> CustomerMessage:
    """A message about any intent."""
    return compose(rng.choice(intents()), rng)


def pattern_texts() -> list[str]:
    """Every pattern a message is composed from."""
    tones = [p for openers, closers in TONES.values() for p in (*openers, *closers) if p]
    return [*(p for i in intents() for p in i.patterns), *tones]
