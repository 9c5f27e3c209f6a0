"""Headings with their sections, where headings are marked as such (Markdown).

A section that fits into one answer becomes a pair: "How to reset it" asks how, any other heading
asks to be explained. The title of the document and headings that name no topic ("Overview") give
none; nor do sections out of which a pair was already taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tensafe.data.items import LeftOut, Paragraph
from tensafe.data.questions.pair import Pair

_MIN_BODY_CHARS = 12
_NO_TOPIC = re.compile(
    r"^(?:[\d.]+\s*)?(?:introduction|overview|summary|conclusions?|notes?|references?|contents"
    r"|table of contents|index|appendix.*|about|general|misc\w*|other|more|further reading|links?"
    r"|see also|license|licence|copyright|changelog|acknowledge?ments|examples?|usage|faqs?"
    r"|background|preface|foreword|chapter \S+|section \S+|part \S+|step \S+|page \S+)$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"^(?:\d+(?:\.\d+)*[.)]?|[A-Z]\.)\s+")


def question_from(heading: str) -> str | None:
    """What a section with this heading answers; None for a heading that names no topic."""
    title = _NUMBER.sub("", heading.strip().strip("*_")).strip().rstrip(":.")
    if _NO_TOPIC.match(title) or not re.search(r"[^\W\d_]{3}", title) or len(title) > 100:
        return None
    if title.endswith("?"):
        return title
    if how := re.match(r"(?i)how to (.+)$", title):
        return f"How do you {how[1]}?"
    return f"Explain: {title}"


def pair_sections(
    parts: Iterator[Pair | Paragraph | LeftOut], passage_chars: int
) -> Iterator[Pair | Paragraph | LeftOut]:
    """The stream with every section that fits into `passage_chars` turned into a pair."""
    heading: Paragraph | None = None
    body: list[Paragraph] = []
    is_whole = True
    for part in parts:
        if isinstance(part, LeftOut):
            yield part
        elif isinstance(part, Pair):
            is_whole = False
            yield part
        elif part.level:
            yield from _section(heading, body, passage_chars, is_whole=is_whole)
            heading, body, is_whole = part, [], True
        else:
            body.append(part)
    yield from _section(heading, body, passage_chars, is_whole=is_whole)


def _section(
    heading: Paragraph | None, body: list[Paragraph], passage_chars: int, *, is_whole: bool
) -> Iterator[Pair | Paragraph]:
    text = "\n\n".join(part.text for part in body).replace("\u200b", "").strip()
    fits = _MIN_BODY_CHARS <= len(text) <= passage_chars
    question = question_from(heading.text) if heading and heading.level > 1 else None
    if heading and question and fits and is_whole:
        yield Pair(question, text, heading.place, is_made="?" not in heading.text)
        return
    if heading:
        yield heading
    yield from body
