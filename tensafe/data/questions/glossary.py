"""Terms with their definitions: glossaries, definition lists, `**term**: meaning` lists.

Under a heading such as "Glossary" or "Key Terms" every `term: definition` counts. Elsewhere a run
of at least four is needed, so that a stray colon in running text makes no entry. `see other term`
is replaced by what the other term means, and left out where that isn't said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tensafe.data.items import LeftOut, Paragraph
from tensafe.data.questions.pair import Pair
from tensafe.data.questions.sentences import has_lost_reference

UNRESOLVED = "glossary entry that only points to another one"
UNFINISHED = "glossary entry whose definition lacks a part"
_RUN = 4
_MAX_TERM_WORDS, _MIN_DEFINITION_WORDS, _MAX_DEFINITION_CHARS = 10, 3, 900
_HEADING = re.compile(
    r"^(?:\d[\d.]*\s+)?(?:glossary|key\s?terms?|key\s?words|terms and definitions|definitions?"
    r"|terminology|vocabulary|abbreviations(?: and acronyms)?)(?:\s+(?:of|and|for)\b.*)?$",
    re.IGNORECASE,
)
_TERM = r"[^\W_](?:[^:*\n.?!|]|\.(?=\w)){0,70}?"
_BOLD = re.compile(
    rf"^\s*(?:[-*+•]\s+)?(?:\*\*|__)(?P<term>{_TERM})\s*(?::(?:\*\*|__)|(?:\*\*|__)\s*[:–—-])\s+"
    r"(?P<text>\S.*)$",
    re.DOTALL,
)
_PLAIN = re.compile(
    rf"^\s*(?:[-*+•]\s+)?(?P<term>{_TERM})\s*(?::|\s[–—])\s+(?P<text>\S.*)$", re.DOTALL
)
_DEFINED = re.compile(rf"^(?P<term>{_TERM})\n(?::\s+)(?P<text>\S.*)$", re.DOTALL)
_SEE = re.compile(r"^\(?see(?: also)?:?\s+(?P<term>[^.;)]{2,70})[.)]?$", re.IGNORECASE)
_DEFINES = re.compile(r"(?:[a-z]|(?:An?|The|Any|When|Where|How|To)\s)")
# Said before a colon, these open a remark or a field of a record, not a definition.
_NO_TERM = re.compile(
    r"^(?:note|notes|example|examples|e\.?g|tip|hint|warning|caution|important|remember|see|source"
    r"|credit|figure|table|step|chapter|section|part|question|answer|q|a|solution|problem|exercise"
    r"|date|time|from|to|subject|author|name|address|phone|tel|fax|e-?mail|https?|url"
    r"|by the end|in this|after|summary|result|reason|i|we|you|he|she|it|they|this|that|there)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Entry:
    """One term and what it means."""

    term: str
    definition: str
    place: str
    text: str


def is_glossary_heading(text: str) -> bool:
    """Whether a heading announces terms with their definitions."""
    return bool(_HEADING.match(text.strip().strip("*_:")))


def question_for(term: str) -> str:
    """What a person asks who wants to know a term; grammatical for any part of speech."""
    return f'What does "{term}" mean?'


def read_entries(paragraph: Paragraph) -> list[Entry] | None:
    """The entries of a paragraph that consists of nothing else; None for any other paragraph."""
    text = paragraph.text.strip()
    if match := _DEFINED.match(text):
        entry = _entry(match, paragraph.place, text)
        return [entry] if entry else None
    found: list[Entry] = []
    for chunk in _chunks(text):
        match = _BOLD.match(chunk) or _PLAIN.match(chunk)
        entry = _entry(match, paragraph.place, chunk) if match else None
        if entry is None:
            return None
        found.append(entry)
    return found or None


def _chunks(text: str) -> list[str]:
    """Lines, with the ones that go on joined to the one that opens an entry."""
    chunks: list[str] = []
    for line in text.split("\n"):
        opens = _BOLD.match(line) or _PLAIN.match(line)
        if chunks and not opens:
            chunks[-1] = f"{chunks[-1]} {line.strip()}"
        else:
            chunks.append(line)
    return chunks


def _entry(match: re.Match[str], place: str, text: str) -> Entry | None:
    term = match["term"].strip(" *_\"“”'")
    definition = " ".join(match["text"].split()).strip("*_ ")
    long = len(definition) > _MAX_DEFINITION_CHARS or len(term.split()) > _MAX_TERM_WORDS
    unbalanced = term.count("(") != term.count(")") or definition.startswith("http")
    if not term or unbalanced or long or _NO_TERM.match(term) or not re.search(r"[^\W\d]{2}", term):
        return None
    words = len(definition.split())
    if words < _MIN_DEFINITION_WORDS and not (_SEE.match(definition) or words == 2):
        return None
    return Entry(term, definition, place, text)


class GlossaryReader:
    """Collects entries paragraph by paragraph, and gives pairs or the paragraphs back."""

    def __init__(self) -> None:
        self._announced = False
        self._held: list[tuple[Paragraph, list[Entry]]] = []
        # Definitions of the whole text: `see other term` may point to an earlier glossary.
        self._known: dict[str, str] = {}

    def take(self, paragraph: Paragraph) -> Iterator[Pair | Paragraph | LeftOut] | None:
        """What became of the paragraph and of those held; None when it is held itself."""
        if paragraph.level and is_glossary_heading(paragraph.text):
            released = list(self.release())
            self._announced = True
            return iter(released)
        entries = read_entries(paragraph)
        if entries and (not paragraph.level or (self._announced and _is_defined(entries))):
            self._held.append((paragraph, entries))
            return None
        announced = self._announced and not paragraph.level
        released = [*self.release(), paragraph]
        self._announced = announced
        return iter(released)

    def release(self) -> Iterator[Pair | Paragraph | LeftOut]:
        """Pairs for a glossary, else the paragraphs as they were."""
        held, self._held = self._held, []
        entries = [entry for _, found in held for entry in found]
        announced, self._announced = self._announced, False
        if not announced and not _reads_like_glossary(entries):
            yield from (paragraph for paragraph, _ in held)
            return
        yield from self._pairs(entries)

    def _pairs(self, entries: Sequence[Entry]) -> Iterator[Pair | LeftOut]:
        self._known.update(
            (_key(one.term), one.definition) for one in entries if not _SEE.match(one.definition)
        )
        counts = Counter(_key(entry.term) for entry in entries)
        for entry in entries:
            definition = entry.definition
            if see := _SEE.match(definition):
                target = _key(see["term"])
                if target not in self._known or counts[_key(entry.term)] > 1:
                    yield LeftOut(UNRESOLVED, entry.place)
                    continue
                definition = self._known[target]
            if has_lost_reference(definition) or re.match(r"(?:or|and|but)\s", definition):
                yield LeftOut(UNFINISHED, entry.place)
                continue
            passage = f"term {_key(entry.term)}"
            yield Pair(question_for(entry.term), definition, entry.place, passage, is_made=True)


def _is_defined(entries: Sequence[Entry]) -> bool:
    """Whether what looks like a heading is an entry: in plain text both end without a full stop."""
    words = [word for one in entries for word in one.definition.split() if len(word) > 3]
    capitals = sum(word[0].isupper() for word in words)
    return capitals < 0.5 * len(words) or all(one.term[0].islower() for one in entries)


def _reads_like_glossary(entries: Sequence[Entry]) -> bool:
    """Whether a run that no heading announces defines terms: a transcript or a form doesn't."""
    if len(entries) < _RUN:
        return False
    distinct = len({_key(entry.term) for entry in entries})
    defining = sum(
        len(entry.definition.split()) >= 4 and bool(_DEFINES.match(entry.definition))
        for entry in entries
    )
    return distinct >= 0.9 * len(entries) and defining >= 0.8 * len(entries)


def _key(term: str) -> str:
    return " ".join(re.sub(r"\([^)]*\)", " ", term.casefold()).split())
