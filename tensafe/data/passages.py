"""Finds questions with their answers in running text, and cuts the rest into passages.

Recognised: `Q: ... A: ...`, `Problem 1: ... Solution: ...`, `**Question?**` followed by text,
headings that end in a question mark followed by text, and questions that stand alone as a
paragraph. What becomes part of a pair is not used again as prose, so that no text stands on both
sides of a split; a definition quoted from a passage stays with that passage.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tensafe.data.items import LeftOut, Paragraph
from tensafe.data.plain_text import is_title
from tensafe.data.questions import Pair, find_definitions
from tensafe.data.questions.exercises import is_flattened_table
from tensafe.data.questions.sentences import has_lost_reference, is_request, split_sentences
from tensafe.data.records import Example, Message

_PREFIX = r"^\s*(?:[-*+>•]\s+|\d{1,3}[.)]\s+|#{1,6}\s+)?"
_QUESTION = re.compile(
    _PREFIX
    + r"(?:\*\*|__)?\s*(?:Q|Question|QUESTION|Frage|Problem|Exercise)\s*\d{0,3}"
    + r"\s*[:.)]\s*(?:\*\*|__)?\s*(\S.*)$"
)
_ANSWER = re.compile(
    _PREFIX
    + r"(?:\*\*|__)?\s*(?:A|Answer|ANSWER|Antwort|Solution)\s*\d{0,3}"
    + r"\s*[:.)]\s*(?:\*\*|__)?\s*(.*)$"
)
_BOLD = re.compile(_PREFIX + r"(?:\*\*|__)\s*([^*_]\S?.*?\?)\s*(?:\*\*|__)\s*(.*)$")
_SENTENCE = re.compile(r"(?:(?<=[.!?。！？])|(?<=[.!?。！？][\"”’)]))\s+")
# A question that stands alone with a list of choices under it is an exercise, not an answer.
_CHOICES = re.compile(r"^\s*(?:1|a|A)\s*[.)]\s")
# "A Million-Dollar Loaf of Bread?" heads a story; nobody asks it. English words only, so that
# questions of other languages pass.
_ELLIPTIC = re.compile(
    r"^(?=.*\b(?:the|of|and|or|an?|No)\b)(?!.*\b(?:what|which|who|whom|whose|when|where|why|how|is"
    r"|are|was|were|am|do|does|did|can|could|will|would|should|shall|may|might|must|has|have|had)\b)"
    r"|^(?:what|how) about\b",
    re.IGNORECASE,
)
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


def split_pairs(
    parts: Iterator[Pair | Paragraph | LeftOut],
) -> Iterator[Pair | Paragraph | LeftOut]:
    """Pairs found in the text, and the parts that belong to none, in order."""
    waiting: _Open | None = None
    for paragraph in parts:
        if not isinstance(paragraph, Paragraph):
            # Neither a pair nor what was left out ends an answer that goes on behind it.
            if waiting and isinstance(paragraph, Pair):
                yield from _close(waiting)
                waiting = None
            yield paragraph
            continue
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
        inline = re.split(r"\s+(?:A|Answer|Solution)\s*:\s+", " ".join(question), maxsplit=1)
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
        if len(sentences) == 1 and not _ELLIPTIC.search(sentences[0]):
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
    parts = [unwrap(part) for part in waiting.answer if part.strip()]
    answer = "\n\n".join(parts)
    rest = ""
    if waiting.style in ("heading", "alone"):
        answer, rest = _understood(parts)
    if answer and not (waiting.style == "alone" and not _answers(answer)):
        yield Pair(question, _unbold_start(answer), waiting.place)
        if rest:
            yield Paragraph(rest, waiting.place, 0, waiting.section)
    else:
        level = waiting.level if waiting.style == "heading" else 0
        yield Paragraph("\n".join(waiting.question), waiting.place, level, waiting.section)
        for part in parts:
            yield Paragraph(part, waiting.place, 0, waiting.section)


def _understood(parts: list[str]) -> tuple[str, str]:
    """The answer up to where it points to something that the text lost, and what follows."""
    for number, part in enumerate(parts):
        if has_lost_reference(part) and not (part.endswith(":") and parts[number + 1 :]):
            sentences = split_sentences(part)
            clear = list(itertools.takewhile(lambda one: not has_lost_reference(one), sentences))
            kept = [*parts[:number], " ".join(clear)] if clear else parts[:number]
            left = [" ".join(sentences[len(clear) :]), *parts[number + 1 :]]
            return "\n\n".join(kept), "\n\n".join(left)
    return "\n\n".join(parts), ""


def _answers(text: str) -> bool:
    """Whether what follows a question that stands alone reads like an answer to it."""
    asks = re.match(r"Step \d", text) or _CHOICES.match(text) or is_request(text)
    asks = asks or has_lost_reference(text) or is_flattened_table(text)
    return not asks and bool(re.match(r"[\W\d]*[A-ZÀ-ÞА-Я]", text))


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


NEAR_EMPTY = "prose too short to learn from"


class PassageCutter:
    """Cuts prose into `text` examples of about `passage_chars`, between paragraphs.

    A passage never crosses a heading or a page; up to eight passages in a row form a group, and
    the definitions found in a passage belong to its group. Of several definitions of one term the
    first is taken.
    """

    def __init__(self, source: str, passage_chars: int) -> None:
        self._source, self._passage_chars = source, passage_chars
        self._held: list[tuple[str, str]] = []
        self._page, self._section, self._cut = "", 0, 0
        self._defined: set[str] = set()

    def take(self, item: Paragraph) -> Iterator[Example | LeftOut]:
        """The passages that are complete now that the paragraph has come."""
        starts_section = item.level > 0 or item.section != self._page
        for part in _sized(unwrap(item.text), self._passage_chars):
            held_chars = sum(len(text) for text, _ in self._held)
            if self._held and (held_chars + len(part) > self._passage_chars or starts_section):
                yield from self.release()
            if starts_section:
                self._section, self._cut = self._section + 1, 0
                self._page, starts_section = item.section, False
            self._held.append((part, item.place))

    def release(self) -> Iterator[Example | LeftOut]:
        """What is held, as a passage with the definitions in it."""
        held, self._held = self._held, []
        group = f"{self._source}#section {self._section}.{self._cut // _PASSAGES_PER_GROUP}"
        self._cut += 1
        text = "\n\n".join(part for part, _ in held).strip()
        if len(text) >= _MIN_PASSAGE_CHARS:
            turn: Message = {"role": "assistant", "content": text}
            yield Example((turn,), self._source, held[0][1], group, "text")
        elif text:
            yield LeftOut(NEAR_EMPTY, held[0][1])
        for part, place in held:
            for pair in find_definitions(part, place):
                if pair.question.casefold() not in self._defined:
                    self._defined.add(pair.question.casefold())
                    yield pair_example(pair, self._source, group)


def pair_example(pair: Pair, source: str, group: str = "") -> Example:
    """A pair as an example; its group is the passage that it was taken from."""
    turns: tuple[Message, ...] = (
        {"role": "user", "content": pair.question},
        {"role": "assistant", "content": pair.answer},
    )
    own = f"{source}#{pair.passage or f'{pair.place} {pair.question[:40]}'}"
    return Example(turns, source, pair.place, group or own)


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
