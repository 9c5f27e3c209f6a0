"""From a sentence to what it asks of TG Tinker: the trigger, the field of knowledge, the path.

A request is taken only when it asks for something to be done now: a command, or a wish of the
speaker. Questions about adapters, reports of what was done, refusals and quotations are not taken,
nor are adapters of other kinds (power supplies, radio modules, design patterns).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# A request stands at the beginning of what somebody says.
MOST_CHARACTERS = 500
Trigger = Literal[
    "create_lora", "create_tgsp", "turn_into", "improve", "train_from", "build_for", "fine_tune"
]

_EXTENSIONS = "csv|tsv|jsonl?|parquet|pdf|txt|md|markdown|html?|docx|tgsp|zip|gz|log"
_PATH = re.compile(
    rf"""(?P<quote>["'`])(?P<quoted>[^"'`]*(?:/|\.(?:{_EXTENSIONS}))[^"'`]*)(?P=quote)"""
    rf"""|(?<![\w/])(?P<bare>(?:~|\.{{1,2}})?/[^\s,;"']+|[\w.-]+(?:/[\w.-]+)+|[\w-]+\.(?:{_EXTENSIONS})\b)""",
    re.IGNORECASE,
)
_QUOTATION = re.compile(r'"[^"]*"|“[^”]*”|`[^`]*`')
_PACKAGE, _DATA = "«package»", "«data»"

# Openings that leave the command as it is, taken off again and again.
_OPENING = re.compile(
    r"""(?:hey|hi|hello|ok(?:ay)?|well|so|and|then|now|please|kindly|just
    |(?:can|could|would|will)\s+you(?:\s+mind)?
    |(?:can|could|shall|should|may)\s+(?:we|i)
    |(?:i|we)(?:'d|\s+would)\s+(?:really\s+)?(?:like|love|appreciate)(?:\s+you)?(?:\s+to)?(?:\s+have)?
    |(?:i|we)\s+(?:really\s+)?(?:want|need)(?:\s+you)?(?:\s+to)?(?:\s+have)?
    |(?:i|we)\s+(?:should|must|have\s+to)
    |let'?s|let\s+us|go\s+ahead(?:\s+and)?|start|begin|help\s+me(?:\s+to)?
    |give\s+(?:me|us)|do\s+some|do|run|kick\s+off
    )\b[\s,:!]*""",
    re.VERBOSE,
)
_ASKS = re.compile(
    r"(?:what|why|how|which|who|whose|when|where|is|are|was|were|does|did|has|have\s+(?:you|we|i)"
    r"|do\s+(?:i|we|you)|should\s+(?:i|we)\s+\w+.*\bor\b|can\s+an?\b|tell|explain|show|list)\b"
)
_REFUSES = re.compile(
    r"\b(?:don'?t|do\s+not|never|no\s+need|stop|cancel|without\s+(?:creating|training))\b"
)
_REPORTS = re.compile(
    r"\b(?:already|yesterday|(?:was|were|been)\s+\w+ed)\b"
    r"|^(?:i|we|he|she|they|my\s+\w+|our\s+\w+|the\s+\w+)\s+(?!need\b)(?:\w+ed|made|built)\b"
)
_OTHER_KINDS = re.compile(
    r"\b(?:power|usb|hdmi|vga|network|travel|phone|charger|plug|bluetooth|radio|antennas?|gateway"
    r"|lorawan|class|pattern|driver|sister|interface)\b"
)

_KIND = r"(?:lora|qlora|adapter|tgsp)s?"
_ADAPTER = rf"(?:(?:low[- ]rank|signed|tgsp|lora)\s+)*{_KIND}"
_OWN = r"(?:this|the|that|my|our|your|its|current|existing)"
_EXISTING = (
    rf"(?:{_PACKAGE}|{_OWN}(?:\s+(?:current|existing|new|old|latest))?"
    rf"(?:\s+\w+)?\s+{_ADAPTER}(?:\s+adapter)?|current\s+{_ADAPTER})"
)
_MAKE = (
    r"(?:create|creating|creation|make|making|build|building|produce|generate|assemble|construct"
    r"|craft|develop|put\s+together|set\s+up|whip\s+up|cook\s+up|package|prepare|get|have)"
)
_TRAIN = r"(?:train|training)"
_SOURCE_NOUN = (
    r"(?:data(?:\s?sets?)?|files?|documents?|docs|records?|transcripts?|logs?|notes?|corpus|corpora"
    r"|folder|directory|examples?|chats?|history|tickets?|texts?|archive|manuals?|uploads?)"
)
_SOURCE = rf"(?:{_DATA}|(?:\w+\s+){{0,3}}?{_SOURCE_NOUN}\b|them\b|these\b|those\b)"
_FROM = r"(?:from|on|onto|with|using|out\s+of|over)"

_IMPROVES = re.compile(
    rf"^(?:(?:improve|improving|refine|enhance|upgrade|update|retrain|polish(?:\s+up)?|better"
    rf"|strengthen|sharpen|correct)\s+{_EXISTING}"
    rf"|(?:make|making)\s+{_EXISTING}\s+(?:\w+\s+)?(?:better|more|stronger|smarter|faster|stop)"
    rf"|(?:fix|repair|mend)\s+(?:the\s+)?(?:\w+\s+){{0,2}}(?:of|in)\s+{_EXISTING}"
    rf"|teach\s+{_EXISTING}"
    rf"|(?:(?:{_MAKE}|{_TRAIN})\s+)?(?:a|an|the)\s+(?:better|improved|new|newer|next)\s+version"
    rf"\s+of\s+{_EXISTING})"
)
_IMPROVES_LATER = re.compile(
    rf"^{_EXISTING}\b.*\b(?:please|so|then)\s+(?:improve|fix|update|refine)\s+it\b"
)
_FINE_TUNES = re.compile(
    r"^(?:a\s+)?(?:fine[- ]?tun(?:e|ing)|finetun(?:e|ing))(?:\s+(?:run|job))?"
    r"(?:\s+(?:it|me|us|(?:a|an|the|this|our|my)\s+(?:\w+\s+)?(?:model|llm)|[\w.-]+))?"
    rf"(?:\s+{_FROM}\s+{_SOURCE}|\s+for\s+\w)"
)
_TURNS = re.compile(
    r"^(?:turn(?:ing)?|convert(?:ing)?|transform(?:ing)?|make|making|distill?|change)\s+(?P<what>.+?)"
    rf"\s+(?:in)?to\s+(?:an?\s+)?(?:new\s+)?{_ADAPTER}\b"
    rf"|^(?P<wish>.+?)\s+(?:turned|converted|made|transformed)\s+into\s+(?:an?\s+)?{_ADAPTER}\b"
    rf"|^(?:(?:can|could)\s+)?(?P<become>.+?)\s+become\s+(?:an?\s+)?{_ADAPTER}\b"
    rf"|^{_MAKE}\s+(?:an?\s+)?{_ADAPTER}\s+out\s+of\s+(?:this|that|it)\s*$"
)
_ARTICLE = r"(?:(?:me|us)\s+)?(?:(?:a|an|another|some|one|new)\s+)"
_JOINS = r"(?:of|on|for|about|in|from|with|and|or|the|this|that|my|our|your|to|at|by|using)"
_FIELD_BEFORE = rf"(?P<before>(?:(?!{_JOINS}\b)[\w-]+\s+){{0,3}}?)"
_WANTS = re.compile(
    rf"^(?:(?P<verb>{_MAKE}|{_TRAIN}|creat|crate)\s+)?{_ARTICLE}{_FIELD_BEFORE}"
    rf"(?P<kind>{_ADAPTER}|{_DATA})(?:\s+(?:adapter|file|package|made|built))*\b(?P<rest>.*)$"
)
_PLURAL = re.compile(
    rf"^(?:{_MAKE}|{_TRAIN})\s+{_FIELD_BEFORE}(?P<kind>lora\s+adapters|loras)\b(?P<rest>.*)$"
)
_WITH_DATA_FIRST = re.compile(
    rf"^(?:use|using|take|with)\s+{_SOURCE}.*?\b(?:to|and)\s+(?:{_TRAIN}|{_MAKE})\s+{_ARTICLE}(?:\w+\s+)?{_ADAPTER}"
)
_LEARNS = re.compile(rf"^(?:have\s+)?{_ARTICLE}{_ADAPTER}\s+learn\s+from\s+{_SOURCE}")
_HAS_SOURCE = re.compile(rf"\b{_FROM}\s+{_SOURCE}")

_FIELD_AFTER = re.compile(
    r"\b(?:for|about|on\s+the\s+subject\s+of|in|specialised\s+in|specialized\s+in)\s+"
    r"(?:the\s+(?:field|domain|area|subject)\s+of\s+)?(?:the\s+)?(?P<field>[a-z][\w\s&/-]*?)"
    rf"(?:\s+(?:domain|field|industry|area))?(?=\s+{_FROM}\b|\s*[,.!?;]|\s+(?:please|thanks|now|that|which)\b|\s*$)"
)
_PRONOUNS = "a an me us you it this that our my team everyone all him her them"
_NOBODY = frozenset(_PRONOUNS.split())
_NO_FIELD = _NOBODY.union(
    *(
        line.split()
        for line in (
            "the your new fresh signed better custom small tiny big good low-rank low rank lora",
            "tgsp adapter proper real private safe simple single nice first second another of",
            "both please now today later best",
        )
    )
)


@dataclass(frozen=True)
class Request:
    """What a sentence asks for. `path` is as written; `domain` in lower case; both may be None."""

    trigger: Trigger
    domain: str | None = None
    path: str | None = None

    @property
    def action(self) -> Literal["create", "improve"]:
        """Which of the two modes is asked for."""
        return "improve" if self.trigger == "improve" else "create"


def route(sentence: str) -> Request | None:
    """The request in a sentence, or None when it asks for none of TG Tinker's work."""
    path, text = _without_path(sentence[:MOST_CHARACTERS])
    text = _QUOTATION.sub(" ", text)
    text = re.sub(r"\s+", " ", text.replace("’", "'")).strip().lower().rstrip(".!? ")
    text = text.replace(".tgsp adapter", "tgsp adapter").replace(".tgsp", "tgsp")
    if _is_other(text):
        return None
    # "I have a folder, turn it into a LoRA": the command may be a later part of the sentence.
    for part in (text, *re.split(r"[,;:]\s+|\.\s+", text)[1:]):
        clause = _command(part)
        trigger = _trigger(clause, text)
        if trigger is not None:
            domain = None if trigger == "improve" else _domain(clause)
            return Request(_with_data(trigger, domain, path), domain, path)
    return None


def _with_data(trigger: Trigger, domain: str | None, path: str | None) -> Trigger:
    """A wish without a field whose data stand elsewhere in the sentence is one to train from."""
    is_from_data = trigger == "create_lora" and domain is None and path is not None
    return "train_from" if is_from_data else trigger


def _without_path(sentence: str) -> tuple[str | None, str]:
    """The first path of a sentence, and the sentence with a mark in its place."""
    for match in _PATH.finditer(sentence):
        path = match["quoted"] or match["bare"].rstrip(".!?:")
        if path.lower() == ".tgsp":
            continue
        mark = _PACKAGE if path.lower().endswith(".tgsp") else _DATA
        return path, f"{sentence[: match.start()]} {mark} {sentence[match.end() :]}"
    return None, sentence


def _is_other(text: str) -> bool:
    """Whether the sentence asks, refuses, tells what was done, or means another kind of adapter."""
    if _REFUSES.search(text) or _OTHER_KINDS.search(text):
        return True
    if _ASKS.match(text) or re.match(r"(?:should|do)\s+(?:i|we)\b.*\bor\b", text):
        return True
    return bool(_REPORTS.search(text))


def _command(text: str) -> str:
    """The sentence without its openings, and without thanks at its end."""
    text = re.sub(r"[\s,]*(?:please|thanks|thank you|for me|for us|now)$", "", text)
    while (match := _OPENING.match(text)) is not None:
        text = text[match.end() :]
    return text


def _trigger(clause: str, whole: str) -> Trigger | None:
    if _IMPROVES.match(clause) or _IMPROVES_LATER.match(whole):
        return "improve"
    if _FINE_TUNES.match(clause):
        return "fine_tune"
    if _is_turned(clause):
        return "turn_into"
    if _WITH_DATA_FIRST.match(clause) or _LEARNS.match(clause):
        return "train_from"
    wanted = _WANTS.match(clause) or _PLURAL.match(clause)
    return None if wanted is None else _kind_of_wish(clause, wanted)


def _is_turned(clause: str) -> bool:
    match = _TURNS.match(clause)
    if match is None:
        return False
    parts = match.groupdict()
    what = parts["what"] or parts["wish"] or parts["become"]
    # "make it easy to lora": what is turned is something pointed at, owned or named.
    return what is None or bool(
        re.search(
            rf"{_DATA}|\b(?:this|that|these|those|it|everything|my|our|the|all)\b|{_SOURCE_NOUN}",
            what,
        )
    )


def _kind_of_wish(clause: str, wanted: re.Match[str]) -> Trigger | None:
    kind, before, rest = wanted["kind"], wanted["before"], wanted["rest"]
    if kind == _DATA:
        return None
    is_bare_data = re.search(rf"\b{_SOURCE_NOUN}\b", before)
    if is_bare_data or re.match(r"\s*(?:for|of)\s+(?:my|our|the)\s+(?:phone|laptop|printer)", rest):
        return None
    if "tgsp" in kind or "signed" in f"{before}{kind}" or re.match(r"\s+package", rest):
        return "create_tgsp"
    is_trained = (wanted.groupdict().get("verb") or "").startswith("train")
    if not is_trained and _domain(clause) is not None:
        return "build_for"
    has_source = _HAS_SOURCE.search(rest) or re.match(r"\s+trained\s+on\b", rest)
    return "train_from" if has_source or (is_trained and _DATA in clause) else "create_lora"


def _domain(clause: str) -> str | None:
    """The field of knowledge: before the noun ("a legal adapter") or after it ("for law")."""
    wanted = _WANTS.match(clause)
    if wanted is not None:
        words = [w for w in wanted["before"].split() if w not in _NO_FIELD]
        if words and wanted["kind"] != _DATA:
            return " ".join(words)
    for match in _FIELD_AFTER.finditer(clause):
        words = match["field"].strip().split()
        if words and words[0] not in _NOBODY and not re.search(_SOURCE_NOUN + r"$", match["field"]):
            return " ".join(words)
    return None
