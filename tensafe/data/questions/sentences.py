"""Sentences, and what they need to be understood: nothing outside themselves, or something.

A sentence taken out of its page is only worth keeping when it says on its own what it says. What
points elsewhere (`shown in .`, `the table below`, `This is called ...`) is recognised here.
"""

from __future__ import annotations

import re

_END = re.compile(
    r"(?:(?<=[.!?])|(?<=[.!?][\"”’)]))\s+(?=[A-Z“\"(\[0-9ÀÁÂÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖØÙÚÛÜÝÞ])"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:U\.S|U\.K|U\.N|e\.g|i\.e|etc|vs|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Inc|Ltd|Co|Corp|No|Fig|"
    r"Eq|cf|al|approx|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec)|\b[A-Z])\.$"
)
# Where a converter dropped a cross-reference, a preposition stands before a punctuation mark.
_LOST_REFERENCE = re.compile(
    r"\b(?:in|from|on|see|of|with|using|and|at|by|to)\s+[,.;:)?]"
    r"|\w\s+[.,;](?![.\d])(?!\s[.])|\(\s*\)|\(see\s*\)|\b(?:shown|seen|shows?|appears?|listed|given|illustrated)\s+in\s+and\b"
    r"|\b(?:in|see|from)\s+(?:and|shows?|illustrates?|presents?|lists?|below|above)\b"
    r"|\bthat is, \.|\bof and\b|\b[Aa]s\s(?:shows?|shown,|illustrates?|seen,|in,)"
    r"|\b[Rr]efers? to\s+(?:to|and|for)\b"
    r"|(?:^|[.!?]\s)(?:is|are|shows?|illustrates?|presents?|lists?|provides?|summari[sz]es?|gives?"
    r"|displays?|depicts?|and|contains?|compares?|outlines?)\s"
)
_FIGURE = re.compile(
    r"\b(?:figures?|tables?|graphs?|charts?|diagrams?|exhibits?|maps?|photos?|pictures?|drawings?"
    r"|equations?|data|schedules?|appendi(?:x|ces)|points? [A-Z]\b|panel)\b",
    re.IGNORECASE,
)
_SHOWN = re.compile(
    r"\b(?:above|below|following|previous(?:ly)?|earlier|preceding|opposite|shown|next section"
    r"|this (?:chapter|section|unit|module|text|book|page|case|example|exercise|problem)"
    r"|last (?:chapter|section)|(?:chapter|section|unit|module) \d)",
    re.IGNORECASE,
)
_ANAPHORA = re.compile(
    r"^(?:And|But|Or|So|Thus|Hence|Then|Therefore|However|Moreover|Furthermore|Also|Again|Instead|"
    r"Likewise|Similarly|Conversely|Otherwise|Still|Yet|For example|For instance|In contrast|"
    r"In addition|In turn|As a result|This|That|These|Those|It|Its|They|Their|Them|He|His|She|Her|"
    r"Such|Both|Each|Neither|Another|Other|Others|Here|There|Take|Consider|Recall|Once|Now|Some|Which|"
    r"The (?:first|second|third|latter|former|other|same|resulting|remaining))\b",
)
_IMPERATIVE = re.compile(
    r"^(?:\(?[a-z0-9]{1,2}[.)]\s+)?(?:(?:Please|Briefly|First|Then|Now|Next|Finally|Also|Again),?\s+)?"
    r"(?:Analy[sz]e|Answer|Apply|Argue|Assess|Calculate|Choose|Classify|Comment|Compare|Complete|"
    r"Compute|Consider|Construct|Contrast|Convert|Decide|Define|Demonstrate|Derive|Describe|Design|"
    r"Determine|Differentiate|Discuss|Distinguish|Draw|Estimate|Evaluate|Examine|Explain|Express|"
    r"Fill|Find|Give|Graph|Identify|Illustrate|Imagine|Indicate|Interpret|Justify|Label|List|Match|"
    r"Name|Outline|Plot|Predict|Prepare|Propose|Prove|Provide|Rank|Rewrite|Select|Show|Sketch|Solve|"
    r"Specify|State|Suggest|Summari[sz]e|Tell|Trace|Use|Verify|Write)\b"
)
_ORDERS_LATER = re.compile(
    r"[,;:]\s(?:please\s|briefly\s|then\s)?(?:analy[sz]e|calculate|compare|compute|describe|determine"
    r"|discuss|draw|estimate|explain|find|identify|list|name|show|sketch|state)\s(?!that\b)"
)
_ASKS_LIST = re.compile(
    r"^(?:What|Which|How|Why|When|Where|Who|Whose|Do|Does|Did|Is|Are|Was|Were|Would|Will|Can|Could"
    r"|Should|In which|For which|For each)\b.*:$",
    re.DOTALL,
)
_DRAWS = re.compile(
    r"\b(?:draw|sketch|plot|graph|illustrate)\s(?:a|an|the|your|this|these|it|each|both)\b"
    r"|\bwith a (?:graph|diagram|sketch)\b",
    re.IGNORECASE,
)
_STEP = re.compile(r"^\s*Step \d", re.IGNORECASE)
_QUOTED_END = re.compile(r"[\"”’)*_\s]+$")


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph; abbreviations and initials end none."""
    found: list[str] = []
    for part in _END.split(text.strip()):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {part}"
        elif part:
            found.append(part)
    return found


def is_request(text: str) -> bool:
    """Whether a paragraph asks or orders something: its last two sentences decide."""
    if _STEP.match(text):
        return False
    last = split_sentences(text)[-2:]
    return any(
        _QUOTED_END.sub("", one).endswith("?")
        or _IMPERATIVE.match(one)
        or _ORDERS_LATER.search(one)
        or _ASKS_LIST.match(one)
        for one in last
    )


def asks_to_draw(text: str) -> bool:
    """Whether the answer would have to be a drawing."""
    return bool(_DRAWS.search(text))


def has_lost_reference(text: str) -> bool:
    """Whether a cross-reference was cut out of the text, or an equation after its colon."""
    return bool(_LOST_REFERENCE.search(text)) or text.rstrip().endswith((":", ",", "—"))


def needs_figure(text: str) -> bool:
    """Whether the text speaks of a figure or table that it does not hold."""
    return has_lost_reference(text) or bool(_FIGURE.search(text) and _SHOWN.search(text))


def stands_alone(sentence: str) -> bool:
    """Whether a sentence says what it says without the ones around it."""
    return not (
        _ANAPHORA.match(sentence)
        or has_lost_reference(sentence)
        or _SHOWN.search(sentence)
        or re.search(r"\(see\b|\bsee \(|\([a-d]\)", sentence)
        or re.search(r"\b(?:Figure|Table|Graph|Exhibit)\b", sentence)
    )
