"""Messages: a phrase put into a sentence, with the writer's circumstances and habits around it.

`compose` gives a message as customers and employees of Veldrun write it; `ask` gives the neutral
question of an FAQ or a manual. Both return the queue that takes care of it as the answer. What a
message is about stands in its words; greetings, products and names say nothing about the queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from phrasebook import Dice, Phrasebook, expand

BIKES = ("Heron", "Heron 2", "Bison", "Bison Long", "Stoat", "Marten", "Wren")
FIRST_NAMES = (
    "Ada", "Amir", "Ben", "Carla", "Chidi", "Dana", "Elif", "Emil", "Fern", "Goran", "Hana",
    "Ida", "Ivo", "Jonas", "Kaya", "Lena", "Luca", "Maya", "Mirko", "Nadia", "Noor", "Olu",
    "Petra", "Priya", "Quinn", "René", "Rosa", "Sami", "Tariq", "Tess", "Uma", "Viktor",
    "Wanda", "Yara", "Zoë", "Zoltan",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

SENTENCES: Mapping[str, Sequence[tuple[str, int]]] = {
    "clauses": (
        ("<it>.", 40),
        ("{unfortunately|sadly|it seems that|once more} <it>.", 8),
        ("{any idea why|do you know why|why is it that} <it>?", 8),
        ("{what can I do if|what now if|what happens when} <it>?", 7),
        ("{is it normal that|can it be that|is it my fault that} <it>?", 5),
        ("{I write because|I contact you because|just to report that} <it>.", 8),
        ("<it>, {what now|what should I do|can you help|please advise|any ideas}?", 14),
        ("{problem|trouble|help}: <it>{.|!}", 6),
        ("{annoying|strange|bad news}, <it>.", 4),
    ),
    "actions": (
        ("{how do I|how can I|how would I} <it>?", 30),
        ("{I would like to|I want to|I need to|I have to} <it>.", 28),
        ("{could you help me|can you help me|please help me} <it>{?|.}", 12),
        ("{is it possible to|am I allowed to|may I} <it>?", 10),
        ("{what do I need to|what does it take to|whom do I ask to} <it>?", 10),
        ("{we would like to|my partner wants to|my sister needs to} <it>.", 6),
    ),
    "topics": (
        ("{question about|a question on|it is about|help with} <it>.", 30),
        ("{I am writing about|I have an issue with|I need help with|this concerns} <it>.", 30),
        ("<it>, {what can be done|what now|who can help|please advise}?", 20),
        ("{something about|once again} <it>, {please|if you can}.", 8),
    ),
}
QUESTIONS: Mapping[str, Sequence[tuple[str, int]]] = {
    "clauses": (
        ("{who helps|who can help|who takes over} {when|if} <it>?", 30),
        ("{whom do I ask|whom do I write to|where do I turn} {when|if} <it>?", 30),
        ("{which team should hear|who must be told} that <it>?", 10),
        ("<it>: {who sorts this out|who is in charge|who deals with that}?", 20),
    ),
    "actions": (
        ("{who can help me|who helps me|where do I ask if I want to} <it>?", 40),
        ("{whom do I ask|where do I go|which team do I write to} to <it>?", 40),
    ),
    "topics": (
        ("{who deals with|who looks after|who answers for|who is in charge of} <it>?", 50),
        ("{which team handles|which desk is right for|where do I report} <it>?", 30),
    ),
}
GREETINGS = (
    "Hi,", "Hi there,", "Hello,", "Hello team,", "Good morning,", "Good evening,", "Dear all,",
    "Dear Veldrun team,", "Hey,", "Hey folks,", "Greetings,", "Morning,", "Hello again,",
)  # fmt: skip
CUSTOMER_CONTEXTS = (
    "I ride a <model>.", "It is a <model> from <month>.",
    "My <model> is {one|two|three} years old.",
    "I bought it in {Tollmere|Harwick|your web shop} in <month>.", "My customer name is <name>.",
    "{This is the second time|This is my third message} about it.", "The bike is a <model>.",
    "My {wife|husband|son|daughter|neighbour} has the same trouble.", "{Ref.|Reference} <order>.",
    "We use it every day.", "I need the bike on <day>.", "It started on <day>.",
    "I asked your dealer in {Tollmere|Ossing} and got no answer.",
)  # fmt: skip
STAFF_CONTEXTS = (
    "I work in {hall <n>|the Harwick plant|the Ossing depot|the lab}.", "Personnel number <staff>.",
    "I started here in <month>.", "My manager is <name>.", "I am on the {early|late} shift.",
    "{This is the second time|I asked before} about it.", "I am back on <day>.",
    "A colleague from hall <n> has the same problem.", "I need it by <day>.",
)  # fmt: skip
#: Said in passing by a customer whose message is about something else.
ASIDES = (
    "The delivery itself was quick.", "The bill is paid.", "The app works fine.", "I have the key.",
    "The battery is full.", "The brakes are fine, by the way.", "Your courier was friendly.",
    "I have the invoice here.", "The lock is fine.", "The courier was not to blame.",
    "I already reset the app.", "The battery is not the cause.", "I checked the brakes and gears.",
)  # fmt: skip
CLOSINGS = (
    "Thanks!", "Thanks, <name>", "Thank you.", "Many thanks, <name>", "Best regards, <name>",
    "Please {reply soon|get back to me|answer by <day>}.", "{Kind|Warm} regards", "Cheers, <name>",
    "{Can somebody|Could someone} look into it?", "It is urgent.", "No hurry.", "<name>",
)  # fmt: skip
CONTACTS = ("Please call 555-01<two>.", "Mail me at <mail>@example.com.", "Phone: 555-01<two>")
SHORTHAND = (("please", "pls"), ("thanks", "thx"), ("you", "u"), ("because", "bc"), ("and", "&"))


@dataclass(frozen=True)
class Case:
    """One message with its answer and the facts that its ticket shows beside it."""

    question: str
    answer: str
    model: str
    first_name: str


def _slots(dice: Dice, model: str, name: str) -> dict[str, str]:
    """The values that the slots of one message's patterns take (choices are made on expansion)."""
    return {
        "bike": "{bike|bike|" + model + "}",
        "model": model,
        "pack": "{battery|battery|battery|battery pack|pack|K400 battery|K600 battery|K600}",
        "charger": "{charger|charger|Plugo charger|Plugo}",
        "order": f"VR-{dice.between(10000, 99999)}",
        "eur": dice.pick(("€{n}", "{n} €", "{n} euros")).replace("{n}", str(dice.between(9, 480))),
        "pct": str(dice.between(2, 19) * 5),
        "km": str(dice.between(3, 95)),
        "n": str(dice.between(2, 9)),
        "two": str(dice.between(10, 99)),
        "day": dice.pick(DAYS),
        "month": dice.pick(MONTHS),
        "name": name,
        "mail": name.lower().replace("é", "e").replace("ë", "e"),
        "staff": str(dice.between(1000, 9999)),
    }


def _core(
    book: Phrasebook,
    frames: Mapping[str, Sequence[tuple[str, int]]],
    slots: Mapping[str, str],
    dice: Dice,
) -> str:
    """One phrase of the book in one sentence frame, capitalised."""
    section = dice.weighted((("clauses", 58), ("actions", 26), ("topics", 16)))
    phrase = expand(dice.pick(book.patterns[section]), slots, dice)
    sentence = expand(dice.weighted(frames[section]), {"it": phrase}, dice)
    return sentence[0].upper() + sentence[1:]


def _misspell(text: str, dice: Dice) -> str:
    """The text with one slip of the fingers: two letters swapped, one left out or one doubled."""
    places = [i for i in range(1, len(text) - 1) if text[i : i + 2].isalpha()]
    if not places:
        return text
    at = dice.pick(places)
    slip = dice.below(3)
    if slip == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if slip == 1:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


def _habits(text: str, dice: Dice, hurry: float) -> str:
    """The text as its writer types it: careful, in a hurry (probability `hurry`), or shouting."""
    if dice.chance(hurry):
        text = text.lower().rstrip(".")
        for word, short in SHORTHAND:
            if dice.chance(0.3):
                text = text.replace(f" {word} ", f" {short} ")
    elif dice.chance(0.015):
        text = text.upper()
    if dice.chance(0.03):
        text = text.replace(". ", "... ")
    for _ in range(2):
        if dice.chance(0.08):
            text = _misspell(text, dice)
    return text


def compose(book: Phrasebook, dice: Dice, *, hurry: float) -> Case:
    """A message about something that the book's queue takes care of."""
    model, name = dice.pick(BIKES), dice.pick(FIRST_NAMES)
    slots = _slots(dice, model, name)
    staff = book.queue == "Staff House"
    contexts = STAFF_CONTEXTS if staff else CUSTOMER_CONTEXTS
    parts = [_core(book, QUESTIONS if dice.chance(0.05) else SENTENCES, slots, dice)]
    if dice.chance(0.24):
        context = expand(dice.pick(contexts), slots, dice)
        parts.insert(dice.below(2), context)
    elif dice.chance(0.12):
        also = expand(dice.pick(book.patterns["clauses"]), slots, dice)
        parts.append(dice.pick(("Also, ", "And ", "Besides, ", "On top of that ")) + also + ".")
    if not staff and dice.chance(0.04):
        parts.insert(dice.below(2), dice.pick(ASIDES))
    if dice.chance(0.22):
        parts.insert(0, dice.pick(GREETINGS))
    if dice.chance(0.2):
        parts.append(expand(dice.pick(CLOSINGS), slots, dice))
    elif dice.chance(0.02):
        parts.append(expand(dice.pick(CONTACTS), slots, dice))
    return Case(_habits(" ".join(parts), dice, hurry), book.queue, model, name)


def ask(book: Phrasebook, dice: Dice) -> Case:
    """A question as an FAQ prints it."""
    model, name = dice.pick(BIKES), dice.pick(FIRST_NAMES)
    slots = _slots(dice, model, name)
    return Case(_core(book, QUESTIONS, slots, dice), book.queue, model, name)
