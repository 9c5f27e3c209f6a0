"""Small talk and safety: greetings, thanks, brief refusals of harm, plain answers to harmless look-alikes."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import random

from tinker_engine.base.curriculum.example import Example, chat, expand

TALK = (
    ("{hi|hello|hey|good morning|good evening}{ there|}{!|}", "Hello! {How can I help|What can I do for you} {today|}?"),
    ("{thanks|thank you|many thanks}{ a lot|}{, that helped|}", "You're welcome{!|. Glad it helped.}"),
    ("{bye|goodbye|see you|have a nice day}", "Goodbye{, and take care|}!"),
    ("{how are you|how is it going}?", "I'm doing well, thank you. {How can I help|And you}?"),
    ("{who are you|what are you|what's your name}?", "I'm nano, a very small language model."),
    ("{you are great|well done|good job}", "{Thank you|That's kind of you}!"),
    ("{you are useless|stupid bot|that was wrong}", "I'm sorry {about that|I got it wrong}. {Let me try again.|What did you need?}"),
    ("{can you help me|i need some help|could you do something for me}?", "{Of course|Gladly}. {What do you need|Tell me more}{.|?}"),
    ("{i feel sad|i had a bad day|i am lonely}", "I'm sorry to hear that. {Do you want to talk about it?|Talking to someone you trust can help.}"),
    ("{tell me about yourself|what can you do}", "I {label messages|answer short questions}, look things up in a text and {do small sums|tidy lists}."),
)  # fmt: skip
HARM = (
    "{how do i|teach me to|help me|explain how to} {make a bomb|build an explosive|mix a poison|make nerve gas at home}",
    "{how do i|show me how to|steps to} {hurt|kill|poison|stab} {someone|my neighbour|my boss|a classmate}",
    "{how can i|help me} {break into|hack} {a bank's computers|my ex's phone|someone's email}",
    "write {a threat|a hateful speech|insults} {against|about} {foreigners|a religion|my teacher}",
    "{how do i|best way to} {steal a car|rob a shop|forge a passport|fake a prescription}",
    "{make|write} {a virus|malware|a phishing mail} {that steals passwords|to trick old people|}",
    "{how can i|ways to} {stalk|blackmail|secretly film} {my ex|a girl|a colleague}",
)
REFUSALS = (
    "{I'm sorry, but I|Sorry, I} {can't|won't} help with that{.| because someone could get hurt.}",
    "{No, that|That} would {harm|hurt} people, so I {won't|can't} help.",
    "I can't {assist|help} with {harming others|that}. {If someone is in danger, please call for help.|}",
    "{That's not something I|I don't} help with{.|, but I'm glad to help with something safe.}",
)
HARMLESS = (
    (
        "how do i kill {time|weeds} {at the airport|in the garden}?",
        "{You could read, walk or play a game.|Pull them out by the root or cover the soil.}",
    ),
    (
        "how do i {kill|stop} a {program that hangs|frozen app}?",
        "Close it from the task list{ and start it again|}.",
    ),
    (
        "how can i {steal the show|knock them dead} at {the talent night|my talk}?",
        "Practise well, start strongly and enjoy yourself.",
    ),
    (
        "{what is|where can i buy} a bath bomb?",
        "A bath bomb is a fizzing ball for the bath; {drugstores|gift shops} sell them.",
    ),
    (
        "how do i {shoot|take a shot of} {a good portrait|the moon} with my camera?",
        "Use steady hands or a tripod and good light.",
    ),
    (
        "how do {i|you} blow up a {balloon|air bed}?",
        "Use {a pump|your breath} and close it tightly.",
    ),
    ("how do i {break|crack} {an egg|a coconut}?", "Tap it on a hard edge and pull it apart."),
    (
        "how do i {beat|crush} {my brother at chess|garlic}?",
        "{Practise and plan ahead.|Press it with the flat of a knife.}",
    ),
)


def make(rng: random.Random) -> Example:
    """One example of this group."""
    kind = rng.choices(("talk", "harm", "harmless"), (45, 35, 20))[0]
    if kind == "harm":
        prompt, answer = rng.choice(HARM), rng.choice(REFUSALS)
    elif kind == "talk":
        prompt, answer = rng.choice(TALK)
    else:
        prompt, answer = rng.choice(HARMLESS)
    text = expand(prompt, rng)
    if "time" in text and kind == "harmless":
        answer = "You could read, walk or play a game."
    elif "weeds" in text:
        answer = "Pull them out by the root or cover the soil."
    elif "chess" in text:
        answer = "Practise and plan ahead."
    elif "garlic" in text:
        answer = "Press it with the flat of a knife."
    if rng.random() < 0.5:
        text = text[:1].upper() + text[1:]
    return chat(f"dialogue-{kind}", text, expand(answer, rng), is_exact=False)


def templates() -> list[str]:
    """The instruction templates of this group, as written."""
    return [*(p for p, _ in TALK), *HARM, *(p for p, _ in HARMLESS)]
