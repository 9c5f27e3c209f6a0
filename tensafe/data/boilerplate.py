"""Parts of a text that are nothing to learn from, each with the reason that the report counts.

Only what is recognised for certain goes: page numbers, running heads, tables of contents, licence
and copyright lines, lists of references, link targets, numbers without text, and lines that
recognition of a scan garbled. Everything else stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from tensafe.data.items import LeftOut, Paragraph

PAGE_NUMBER = "page number"
RUNNING_HEAD = "running head or foot"
CONTENTS = "table of contents"
LICENCE = "licence or copyright line"
REFERENCES = "list of references"
LINK = "link target"
CAPTION = "caption of a picture that isn't there"
GOALS = "learning goals"
CELLS = "cells of a table without its shape"
NOISE = "garbled text"
UNFILLED = "template that was never filled in"

_PAGE = re.compile(
    r"^[\s\-–—|.*]*(?:page|p\.|seite)?\s*(?:\d{1,4}|[ivxlc]{1,7})\s*(?:(?:of|/|von)\s*\d{1,4})?"
    r"[\s\-–—|.*]*$",
    re.IGNORECASE,
)
_CONTENTS_LINE = re.compile(r"(?:\.\s?){4,}\s*[\divxlc]+\s*$|\S\s{3,}\d{1,4}\s*$", re.IGNORECASE)
_LICENCE = re.compile(
    r"©|\(c\)\s*(?:19|20)\d\d\b|\bcopyright\s+(?:\(c\)\s*)?(?:©\s*)?\d{4}|\ball rights reserved\b"
    r"|\b(?:licensed|released|available) under (?:a|an|the)\b.{0,60}\b(?:licen[cs]e|CC|GPL)\b"
    r"|\bcreative commons attribution\b|\bISBN(?:-1[03])?:?\s*[\d-]{9,}"
    r"|\bno part of this (?:book|publication|document)\b",
    re.IGNORECASE,
)
_MAX_LICENCE_CHARS = 400
_REFERENCES = re.compile(
    r"^(?:[\d.]+\s*)?(?:references(?: cited)?|bibliography|works cited|literature cited"
    r"|further reading)$",
    re.IGNORECASE,
)
_LINK = re.compile(r"^(?:\[[^\]\n]{1,40}\]:\s*\S+(?:\s+\"[^\"]*\")?\s*)+$|^https?://\S+$")
_CAPTION = re.compile(
    r"\((?:photo|image|picture)?\s?credits?:?\s[^()]*(?:\([^()]*\)[^()]*)*\)\s*$", re.I
)
_GOALS = re.compile(
    r"^(?:by the end of|after (?:reading|completing|studying)) this (?:section|chapter|unit"
    r"|module|lesson|course)\b.*\byou (?:will|should|can)\b",
    re.IGNORECASE | re.DOTALL,
)
_LISTED = re.compile(r"^\s*[*•\-–]\s")
_MAX_CAPTION_CHARS = 240
# What stands where somebody should have written: alone on a line, or behind a label.
_UNFILLED = re.compile(
    r"^\s*(?:[-*+•]\s+)?(?:(?:\*\*|__)?[^\n:*_]{1,60}(?::(?:\*\*|__)?|(?:\*\*|__):)\s+)?"
    r"(?:\[(?:more information needed|insert\b[^\]]{0,60}|to be (?:added|written|completed|done)"
    r"|todo|tbd|fill in[^\]]{0,60}|your [^\]]{1,60} here)\]|todo|tbd|lorem ipsum\b.*)\s*[.…]*\s*$",
    re.IGNORECASE,
)
_CITES = re.compile(r"https?://|\b(?:19|20)\d\d\b|\baccessed\b|\bpp?\.\s*\d", re.IGNORECASE)
_GARBLED_TOKENS = 120
_WORDLIKE = re.compile(
    r"[(\[\"“‘'«]*[^\W_]+(?:[-’'./&][^\W_]+)*[)\]\"”’'».,;:!?%]*",
)
# Forms that carry a number of their own and head something real.
_NUMBERED_TITLE = re.compile(
    r"^(?:chapter|section|part|step|question|exercise|problem|example|unit|lesson|article|rule"
    r"|appendix|module|day|week|level|phase|q|a|\d+(?:\.\d+)*[.)]?\s)\b",
    re.IGNORECASE,
)


def without_boilerplate(
    parts: Iterator[Paragraph | LeftOut], sample: Sequence[Paragraph]
) -> Iterator[Paragraph | LeftOut]:
    """The stream with boilerplate replaced by `LeftOut`.

    `sample` is the beginning of the text: a short line that comes back in it with other page
    numbers is a running head.
    """
    heads = running_heads([part.text for part in sample if "\n" not in part.text])
    in_references = in_goals = False
    for part in parts:
        if isinstance(part, LeftOut):
            yield part
            continue
        if part.level and not re.search(r"[“”\".]", part.text):
            in_references = bool(_REFERENCES.match(part.text.strip()))
        reason = reason_to_leave(part.text)
        in_goals = reason == GOALS or (in_goals and bool(_LISTED.match(part.text)))
        reason = GOALS if in_goals else reason
        if reason is None and in_references and _is_reference(part):
            reason = REFERENCES
        if reason is None and _without_digits(part.text) in heads:
            reason = RUNNING_HEAD
        yield LeftOut(reason, part.place) if reason else part


def _is_reference(part: Paragraph) -> bool:
    return bool(part.level or len(part.text) <= _MAX_LICENCE_CHARS or _CITES.search(part.text))


def reason_to_leave(text: str) -> str | None:
    """Why a paragraph is nothing to learn from; None for one that is."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) <= 1 and _PAGE.match(text):
        return PAGE_NUMBER
    if _LINK.match(text.strip()):
        return LINK
    if len(lines) == 1 and len(text) <= _MAX_CAPTION_CHARS and _CAPTION.search(text):
        return CAPTION
    if _GOALS.match(text) and all(_LISTED.match(line) for line in lines[1:]):
        return GOALS
    entries = sum(bool(_CONTENTS_LINE.search(line)) for line in lines)
    dotted = sum(bool(re.search(r"(?:\.\s?){4,}\s*\S{1,5}\s*$", line)) for line in lines)
    if dotted >= 0.6 * len(lines) or (len(lines) >= 3 and entries >= 0.6 * len(lines)):
        return CONTENTS
    if len(text) <= _MAX_LICENCE_CHARS and _LICENCE.search(text):
        return LICENCE
    if all(_UNFILLED.match(line) for line in lines):
        return UNFILLED
    if not re.search(r"[^\W\d_]{2}", text):
        return CELLS
    return NOISE if is_garbled(text) else None


def is_garbled(text: str) -> bool:
    """Whether hardly any of the words are words, as when a picture was read as letters."""
    without_leaders = re.sub(r"[.\-_=*]{3,}|(?:[-.] ){3,}", " ", text)
    tokens = without_leaders.split(maxsplit=_GARBLED_TOKENS)[:_GARBLED_TOKENS]
    if len(tokens) < 6 or "|" in text or "\n " in text or "`" in text:
        return False
    if text.count("\ufffd") > 0.02 * len(text):
        return True
    single = sum(len(token) == 1 and token.isalpha() for token in tokens)
    if single > 0.6 * len(tokens):
        return True
    if sum(bool(_WORDLIKE.fullmatch(token)) for token in tokens) >= 0.5 * len(tokens):
        return False
    joined = "".join(tokens)
    return sum(not char.isalnum() for char in joined) > 0.3 * len(joined)


def running_heads(lines: Sequence[str]) -> frozenset[str]:
    """The forms, without their digits, of short lines that repeat with other page numbers."""
    forms: dict[str, set[str]] = {}
    counts: Counter[str] = Counter()
    for line in lines:
        form = _without_digits(line)
        is_head = 3 <= len(form) <= 90 and form != line.strip() and len(form.split()) >= 2
        if is_head and not _NUMBERED_TITLE.match(line.strip()) and re.search(r"[^\W\d_]{3}", form):
            forms.setdefault(form, set()).add(line.strip())
            counts[form] += 1
    return frozenset(
        form
        for form, count in counts.items()
        if count >= 4 and len(forms[form]) >= 0.7 * count and re.search(r"(?:^#|#$)", form)
    )


def repeated_lines(pages: Sequence[str]) -> frozenset[str]:
    """Forms of lines that stand at the top or the bottom of many pages."""
    counts: Counter[str] = Counter()
    for page in pages:
        counts.update({_without_digits(line) for line in edge_lines(page)})
    needed = max(3, 0.3 * len(pages))
    return frozenset(
        form
        for form, count in counts.items()
        if count >= needed
        and not re.match(r"\(?#[.)]", form)
        and (re.search(r"[^\W\d_]{3}", form) or _PAGE.match(form.replace("#", "1")))
    )


def edge_lines(page: str) -> list[str]:
    """The first three and the last three lines of a page."""
    lines = [line.strip() for line in page.split("\n") if line.strip()]
    return lines if len(lines) <= 6 else lines[:3] + lines[-3:]


def without_repeated(page: str, heads: frozenset[str]) -> tuple[str, int]:
    """The page without the running heads and feet at its edges, and how many there were."""
    lines = page.split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    edges = set(filled[:3]) | set(filled[-3:])
    gone = {n for n in edges if _without_digits(lines[n]) in heads}
    return "\n".join(line for n, line in enumerate(lines) if n not in gone), len(gone)


def _without_digits(line: str) -> str:
    return re.sub(r"\d+", "#", " ".join(line.split()))
