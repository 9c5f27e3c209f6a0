"""Definitions that stand in running text: "X is a ...", "X refers to ...", "... is called X".

The answer is the whole sentence, word for word. A sentence counts only when it is understood
without its neighbours, when what it speaks of is a term (not "it", "the answer", "a higher
price"), and when what it says of it tells what it is (not "a good idea").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tensafe.data.questions.glossary import question_for
from tensafe.data.questions.pair import Pair
from tensafe.data.questions.sentences import split_sentences, stands_alone

_MIN_WORDS, _MAX_WORDS = 7, 55
_QUOTE = "[\"“”'‘’]?"
_NOUN = r"[^\W\d_][\w’'-]*(?:\s\([^()]{2,12}\))?"
_TERM = rf"{_NOUN}(?:\s(?:of|in|to|for|and)?\s?{_NOUN}){{0,4}}?"
_LEAD = r"(?:In (?:economics|biology|physics|law|medicine|statistics|computing|accounting),\s)?"
_THE_TERM = r"(?:[Tt]he (?:term|word|phrase|expression|concept(?: of)?|idea of)\s)?"
_REFERS = re.compile(
    rf"^{_LEAD}{_THE_TERM}{_QUOTE}(?P<subject>(?:An?\s|The\s)?{_TERM}){_QUOTE}\s"
    rf"(?P<verb>refers? to|(?:is|are) defined as|means?)\s(?P<rest>\S.*)$"
)
_IS_A = re.compile(
    rf"^{_LEAD}(?P<subject>(?:An?\s)?{_TERM})\s(?P<verb>is|are)\s"
    r"(?P<rest>(?:an?|the|any|when|where|what|how|anything|something|those)\s\S.*)$"
)
_ARE_THOSE = re.compile(
    rf"^(?P<subject>(?:An?\s)?{_TERM})\s(?P<verb>is|are)\s"
    r"(?P<rest>(?![a-z-]+(?:ed|ing)\s)(?!(?:[a-z-]+\s){0,3}(?:on|by|to|in|at|from|with|as|if|so|not)\s)"
    r"(?:[a-z-]+\s){1,4}(?:that|who|whose|in which|at which|by which|on which)\s\S.*)$"
)
_CALLED = re.compile(
    r"\b(?:(?:is|are|was|were)\s(?:also\s|often\s|sometimes\s|commonly\s|usually\s|generally\s)?"
    r"(?:called|known as|referred to as|termed)|economists call (?:this|it)?)\s"
    rf"(?:an?\s|the\s)?{_QUOTE}(?P<term>{_NOUN}(?:\s(?:of\s|in\s|to\s|for\s)?{_NOUN}){{0,4}})"
    rf"{_QUOTE}[.]{_QUOTE}$"
)
# Read first, because it is cheap: most sentences define nothing.
_DEFINING = re.compile(
    r"\s(?:is|are|means?|refers? to|called|termed|known as|referred to as|call)\s"
)
_NO_SUBJECT = re.compile(
    r"^(?:an?\s|the\s)?(?:it|he|she|they|we|you|i|this|that|these|those|there|here|what|who|which|any"
    r"|when|where|why|how|if|one|two|three|four|many|most|some|all|each|every|both|another|other"
    r"|others|such|none|nothing|everything|nobody|people|part|point|answer|reason|result|problem"
    r"|question|goal|idea|key|way|example|issue|fact|case|lesson|conclusion|difference|advantage"
    r"|disadvantage|change|first|second|third|next|last|final|number|amount|today|perhaps|but|and"
    r"|so|or|in|on|at|by|for|from|with|as|because|since|while|although|after|before|during|under"
    r"|only|not|no|at least|just|even|also|then|thus|let|my|your|our|their|his|her|its|more|less"
    r"|fewer|higher|lower|greater|larger|smaller|increased?|decreased?|rising|falling|good|bad"
    r"|better|worse|step|lack|loss|inputs?|output|note|doing|being|having|making|getting|lastly"
    r"|finally|in fact)\b",
    re.IGNORECASE,
)
# A term is a noun phrase: a word in it that belongs to a clause shows that it isn't one.
_CLAUSE = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|do|does|did|will|would|can|could|may|might|must"
    r"|should|that|which|who|whose|when|where|if|because|than|they|we|you|it|he|she|this|these"
    r"|those|your|our|their|its|his|her|not|also|often|then|say|said|says|shows?|call|called"
    r"|being|there|here|what|how|why|above|below|increase[sd]?|decrease[sd]?|rises?|falls?"
    r"|higher|lower|more|less|example|equal|the)\b",
    re.IGNORECASE,
)
_SAYS_LITTLE = re.compile(
    r"^(?:an?|the|any|simply|just|something|anything)?\s*(?:very|fairly|rather|quite|also|"
    r"really|relatively|particularly|especially|increasingly|extremely|single|more|less|most|least|"
    r"best|worst|better|worse|only|same|first|second|third|fourth|last|next|final|main|major|key|"
    r"primary|principal|central|chief|biggest|largest|smallest|highest|lowest|greatest|good|bad|"
    r"great|big|huge|large|small|important|crucial|critical|vital|essential|useful|helpful|powerful|"
    r"common|popular|familiar|classic|typical|clear|obvious|similar|different|separate|likely|"
    r"possible|necessary|perfect|prime|real|serious|significant|interesting|controversial|difficult|"
    r"easy|hard|tough|long|high|low|new|recent|latest|growing|natural|reasonable|strong|weak|"
    r"ideal|plausible|positive|negative|particular|special|little|few|lot|bit|number|matter|"
    r"reason|result|question|problem|example|examples|case|challenge|concern|issue|fact|story|"
    r"answer|topic|subject|focus|heart|way|ways|place|time|point|part|majority|minority|rest|key|"
    r"consequence|outcome|cause|source|sign|step|goal|idea|exception|opposite|reverse|equivalent|"
    r"victim|symptom|success|failure|foundation|basis|backbone|solution|alternative|factor|"
    r"advantage|disadvantage|product|combination|mixture|mix|mixed|function|good|hallmark|tradeoff|"
    r"reminder|risk|ingredients?|messengers?|phenomenon|task|tool|tools|topics?|force|driver|"
    r"treasure|extreme|violation|much|such|nightmare|dream|myth|surprise|mystery|puzzle|mistake|"
    r"marvel\w*|wonderful|stark|vivid|striking|famous|well-known|subset|start|beginning|end|"
    r"case|percent|percentage of|share of|\$|\d)\b",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"\b(?:this|these|those (?!who|that|which|whose)|such|here|now|today|currently|recently|we|us|"
    r"our|you|your|I|my|let’s|let's|above|below|example|so that|imagine|suppose|is why|exactly)\b"
    r"|\b(?:at|in|of|for|to|by|on|from|with) that\b"
    r"|\b[A-Z] to [A-Z]\b|\?$|\b(?:1[5-9]|20)\d\d\b|\$\d",
    re.IGNORECASE,
)


def find_definitions(text: str, place: str) -> Iterator[Pair]:
    """The definitions in a paragraph, in order."""
    for sentence in split_sentences(text):
        words = len(sentence.split())
        if not _MIN_WORDS <= words <= _MAX_WORDS or not sentence[0].isalpha():
            continue
        if not sentence.rstrip('"”’)').endswith(".") or not _DEFINING.search(sentence):
            continue
        question = _question(sentence, text)
        if question and stands_alone(sentence) and not _VAGUE.search(sentence):
            yield Pair(question, sentence, place)


def _question(sentence: str, paragraph: str) -> str | None:
    """The question that the sentence answers, if it defines something."""
    if called := _CALLED.search(sentence):
        term = called["term"].strip()
        before = sentence[: called.start()]
        if _is_term(term) and len(before.split()) >= 4:
            return question_for(_uncapitalised(term, paragraph))
        return None
    if refers := _REFERS.match(sentence):
        says = not refers["verb"].startswith("mean") or _means(refers)
        if not says or not _is_term(refers["subject"]):
            return None
        return question_for(_without_article(_uncapitalised(refers["subject"], paragraph)))
    found = _IS_A.match(sentence) or _ARE_THOSE.match(sentence)
    if found and _is_term(found["subject"]) and not _says_little(found["rest"]):
        subject = _uncapitalised(found["subject"], paragraph, is_plural=found["verb"] == "are")
        return f"What {found['verb']} {subject}?"
    return None


def _means(found: re.Match[str]) -> bool:
    """`means` defines a bare noun; `a lower price means that ...` draws a conclusion."""
    draws = re.match(r"(?:An?|The)\s", found["subject"]) or found["rest"].startswith("that ")
    draws = draws or re.match(r"\w+ing\s", found["subject"])
    return not draws and len(found["rest"].split()) >= 5


def _is_term(subject: str) -> bool:
    text = _without_article(subject)
    # "The quantity is ..." speaks of one that was mentioned before, not of quantities.
    is_mentioned = text != subject and subject[0] in "Tt" and " " not in text
    return (
        not is_mentioned
        and not _NO_SUBJECT.match(text)
        and not _CLAUSE.search(text)
        and bool(re.search(r"[^\W\d_]{3}", text))
    )


def _says_little(rest: str) -> bool:
    superlative = re.match(r"(?:the|an?)\s(?:\w{2,}est)\s", rest)
    return bool(_SAYS_LITTLE.match(rest) or superlative) or len(rest.split()) < 5


def _without_article(subject: str) -> str:
    return re.sub(r"^(?:[Aa]n?|[Tt]he)\s", "", subject)


def _uncapitalised(subject: str, paragraph: str, *, is_plural: bool = False) -> str:
    """The subject as it stands inside a sentence: a name keeps its capital, and is no plural."""
    first, _, rest = subject.partition(" ")
    if first in ("A", "An", "The"):
        return f"{first.lower()} {rest}"
    lower = first[0].lower() + first[1:]
    goes_on_small = rest[0].islower() if rest else is_plural
    is_small = goes_on_small or re.search(rf"(?<![.!?] )\b{re.escape(lower)}\b", paragraph)
    is_name = first[1:2].isupper() or not is_small
    return subject if is_name else f"{lower} {rest}".strip()
