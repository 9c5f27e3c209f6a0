"""Finds questions with their answers in running text, and cuts the rest into passages.

Recognised: `Q: ... A: ...`, `**Question?**` followed by text, headings that end in a question
mark followed by text, and questions that stand alone as a paragraph. What becomes part of a pair
is not used again as prose, so that no text stands on both sides of a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tensafe.data.items import Paragraph
from tensafe.data.plain_text import is_title
from tensafe.data.records import Example, Message

_PREFIX = r"^\s*(?:[-*+>•]\s+|\d{1,3}[.)]\s+|#{1,6}\s+)?"
_QUESTION = re.compile(
    _PREFIX
    + r"(?:\*\*|__)?\s*(?:Q|Question|QUESTION|Frage)\s*\d{0,3}\s*[:.)]\s*(?:\*\*|__)?\s*(\S.*)$"
)
_ANSWER = re.compile(
    _PREFIX + r"(?:\*\*|__)?\s*(?:A|Answer|ANSWER|Antwort)\s*\d{0,3}\s*[:.)]\s*(?:\*\*|__)?\s*(.*)$"
)
_BOLD = re.compile(_PREFIX + r"(?:\*\*|__)\s*([^*_]\S?.*?\?)\s*(?:\*\*|__)\s*(.*)$")
_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"”’)]?\s+")
# A question that stands alone with a list of choices under it is an exercise, not an answer.
_CHOICES = re.compile(r"^\s*(?:1|a|A)\s*[.)]\s")
_MAX_QUESTION_CHARS = 300
_MAX_ANSWER_CHARS = 4000
_MIN_PASSAGE_CHARS = 80
_PASSAGES_PER_GROUP = 8

Style = Literal["marked", "bold", "heading", "alone"]


@dataclass
class _Open:
    """A question that waits for its answer. `style` decides where the answer ends."""

    question: list[str]
    place: str
    style: Style
    level: int
    section: str
    answer: list[str] = field(default_factory=list)
    answering: bool = False

    @property
    def answer_chars(self) -> int:
        return sum(len(part) for part in self.answer)


@dataclass(frozen=True)
class Pair:
    """A question and its answer as they stood in the text."""

    question: str
    answer: str
    place: str


def split_pairs(paragraphs: Iterator[Paragraph]) -> Iterator[Pair | Paragraph]:
    """Pairs found in the text, and the paragraphs that belong to none, in order."""
    waiting: _Open | None = None
    for paragraph in paragraphs:
        for block in _blocks(paragraph):
            opened = _opening(block)
            if waiting and not opened and _continues(waiting, block):
                continue
            if waiting:
                yield from _close(waiting)
                waiting = None
            if opened:
                waiting = opened
            else:
                yield block
    if waiting:
        yield from _close(waiting)


def _blocks(paragraph: Paragraph) -> Iterator[Paragraph]:
    """The paragraph cut where a line opens a question or an answer."""
    if paragraph.level or "\n" not in paragraph.text:
        yield paragraph
        return
    lines: list[str] = []
    for line in paragraph.text.split("\n"):
        marks = _QUESTION.match(line) or _ANSWER.match(line) or _BOLD.match(line)
        if marks and lines:
            yield Paragraph("\n".join(lines), paragraph.place, 0, paragraph.section)
            lines = []
        lines.append(line)
    yield Paragraph("\n".join(lines), paragraph.place, 0, paragraph.section)


def _opening(block: Paragraph) -> _Open | None:
    first, _, rest = block.text.partition("\n")
    if marked := _QUESTION.match(first):
        question = (
            [_unbold(marked.group(1)), *rest.split("\n")] if rest else [_unbold(marked.group(1))]
        )
        inline = re.split(r"\s+(?:A|Answer)\s*:\s+", " ".join(question), maxsplit=1)
        if len(inline) == 2:
            return _Open(
                [inline[0]], block.place, "marked", 9, block.section, [inline[1]], answering=True
            )
        return _Open(question, block.place, "marked", block.level or 9, block.section)
    if bold := _BOLD.match(first):
        answer = "\n".join(part for part in (bold.group(2), rest) if part.strip())
        answering = [answer] if answer else []
        return _Open(
            [bold.group(1)], block.place, "bold", 9, block.section, answering, bool(answer)
        )
    if len(block.text) > _MAX_QUESTION_CHARS or not block.text.rstrip("*_ ").endswith("?"):
        return None
    if block.level:
        return _Open([block.text], block.place, "heading", block.level, block.section)
    if "\n" not in unwrap(block.text) and re.match(r"^[^\w]*[A-ZÀ-ÞА-Я\d]", block.text):
        sentences = [part for part in _SENTENCE.split(block.text) if part.strip()]
        if len(sentences) == 1:
            return _Open([block.text], block.place, "alone", 9, block.section)
    return None


def _continues(waiting: _Open, block: Paragraph) -> bool:
    """Whether the block was taken as part of the open question or its answer."""
    marked = _ANSWER.match(block.text.partition("\n")[0])
    if marked and not waiting.answering:
        rest = block.text.partition("\n")[2]
        waiting.answer.append("\n".join(part for part in (marked.group(1), rest) if part.strip()))
        waiting.answering = True
        return True
    if block.level and (waiting.style != "heading" or block.level <= waiting.level):
        return False
    if waiting.answer_chars + len(block.text) > _MAX_ANSWER_CHARS:
        return False
    if waiting.style == "marked" and not waiting.answering and not _question_ended(waiting):
        waiting.question.append(block.text)
        return len(" ".join(waiting.question)) <= _MAX_QUESTION_CHARS
    if waiting.style == "alone" and waiting.answer and not waiting.answer[-1].endswith(":"):
        return False
    if waiting.style != "heading" and block.level == 0 and waiting.answer and is_title(block.text):
        return False
    waiting.answer.append(block.text)
    waiting.answering = True
    return True


def _question_ended(waiting: _Open) -> bool:
    return " ".join(waiting.question).rstrip("*_ ").endswith(("?", ".", "!"))


def _close(waiting: _Open) -> Iterator[Pair | Paragraph]:
    question = unwrap(_unbold("\n".join(waiting.question)))
    answer = "\n\n".join(unwrap(part) for part in waiting.answer if part.strip())
    if answer and not (waiting.style == "alone" and _CHOICES.match(answer)):
        yield Pair(question, _unbold_start(answer), waiting.place)
    else:
        level = waiting.level if waiting.style == "heading" else 0
        yield Paragraph("\n".join(waiting.question), waiting.place, level, waiting.section)
        if answer:
            yield Paragraph(answer, waiting.place, 0, waiting.section)


def _unbold(text: str) -> str:
    return text.strip().strip("*_").strip()


def _unbold_start(text: str) -> str:
    return re.sub(r"^(?:\*\*|__)\s+", "", text.strip())


def unwrap(text: str) -> str:
    """Joins lines that were broken only to fit a page; keeps lines that are short on purpose."""
    lines = [line.strip() for line in text.strip().split("\n")]
    if len(lines) == 1:
        return lines[0]
    widest = max(len(line) for line in lines)
    full = [len(line) >= 0.7 * widest for line in lines[:-1]]
    if widest >= 40 and sum(full) >= 0.8 * len(full):
        return " ".join(lines)
    return "\n".join(lines)


def cut_passages(items: Iterator[Paragraph], source: str, passage_chars: int) -> Iterator[Example]:
    """Prose as `text` examples of about `passage_chars`, cut between paragraphs.

    A passage never crosses a heading or a page; up to eight passages in a row form a group.
    """
    held: list[str] = []
    place, page, section, cut = "", "", 0, 0
    for item in items:
        starts_section = item.level > 0 or item.section != page
        for part in _sized(unwrap(item.text), passage_chars):
            is_full = sum(len(text) for text in held) + len(part) > passage_chars
            if held and (is_full or starts_section):
                yield from _passage(held, source, place, section, cut)
                held, cut = [], cut + 1
            if starts_section:
                section, cut, page, starts_section = section + 1, 0, item.section, False
            if not held:
                place = item.place
            held.append(part)
    if held:
        yield from _passage(held, source, place, section, cut)


def _passage(held: list[str], source: str, place: str, section: int, cut: int) -> Iterator[Example]:
    text = "\n\n".join(held).strip()
    if len(text) >= _MIN_PASSAGE_CHARS:
        turn: Message = {"role": "assistant", "content": text}
        group = f"{source}#section {section}.{cut // _PASSAGES_PER_GROUP}"
        yield Example((turn,), source, place, group, "text")


def _sized(text: str, passage_chars: int) -> Iterator[str]:
    """The text whole, or cut between sentences (else anywhere) where it is much too long."""
    if len(text) <= 1.5 * passage_chars:
        yield text
        return
    held = ""
    for sentence in _SENTENCE.split(text):
        while len(sentence) > 1.5 * passage_chars:
            if held:
                yield held
                held = ""
            yield sentence[:passage_chars]
            sentence = sentence[passage_chars:]
        if held and len(held) + len(sentence) > passage_chars:
            yield held
            held = ""
        held = f"{held} {sentence}" if held else sentence
    if held:
        yield held
