"""Exercises with their solutions: one after the other, or numbered with the answers further on.

Under a heading such as "Self-Check Questions" a paragraph that asks is followed by the paragraphs
that answer it. Two questions in a row leave it open which one is answered: the first counts as
unanswered. An exercise that speaks of a figure or a table that the text doesn't hold is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tensafe.data.items import LeftOut, Paragraph
from tensafe.data.questions.pair import Pair
from tensafe.data.questions.sentences import (
    asks_to_draw,
    is_request,
    needs_figure,
)

NEEDS_FIGURE = "exercise that needs a figure, a table or an equation not in the text"
UNANSWERED = "exercise without an answer"
_MAX_QUESTION_CHARS, _MAX_ANSWER_CHARS = 1500, 4000
_EXERCISES = re.compile(
    r"^(?:\d[\d.]*\s+)?(?:self[- ]?(?:check|test|assessment)|check your (?:understanding|knowledge)"
    r"|knowledge check|concept checks?|test yourself|quiz|exercises?|practice|problems?"
    r"|review questions?|critical thinking|discussion questions?|questions?|study questions?"
    r"|free response)"
    r"(?:\s+(?:questions?|problems?|exercises?|quiz|set|and answers|and solutions|with answers"
    r"|with solutions))*(?:\s+\d[\d.]*)?$",
    re.IGNORECASE,
)
_SOLUTIONS = re.compile(
    r"^(?:\d[\d.]*\s+)?(?:answers?|solutions?|answer key|key to exercises)"
    r"(?:\s+(?:to|for|key)\b.*)?$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^\s*\(?(?P<number>\d{1,3})[.)]\s+(?P<text>\S.*)$", re.DOTALL)
_FOLLOW_UP = re.compile(r"^(?:Illustrate|Explain|Why|Justify|Give reasons|Show your|Be sure)\b")
_LISTS = re.compile(r"\bfollowing\b|\beach of\b|:\s*$")
_SECOND = re.compile(r"(?:^|\n)\s*\(?2[.)]\s")
_LETTERED = re.compile(r"^\s*\(?(?:[a-h]|[ivx]{1,4})[.)]\s|^\s*[-*+•]\s", re.IGNORECASE)


def is_exercise_heading(text: str) -> bool:
    """Whether a heading announces exercises."""
    return bool(_EXERCISES.match(text.strip().strip("*_:")))


def is_solution_heading(text: str) -> bool:
    """Whether a heading announces the answers to numbered exercises."""
    return bool(_SOLUTIONS.match(text.strip().strip("*_:")))


def is_flattened_table(text: str) -> bool:
    """Whether a paragraph is a table whose cells were written one below the other."""
    lines = [line for line in text.split("\n") if line.strip()]
    short = sum(len(re.findall(r"\w+", line)) <= 5 for line in lines)
    if sum("|" in line for line in lines) > 0.5 * len(lines):
        return True
    if len(lines) == 1:
        return bool(re.fullmatch(r"[\W\d]+", text.strip()))
    listed = sum(bool(_LETTERED.match(line) or _NUMBERED.match(line)) for line in lines)
    return short >= 0.8 * len(lines) and listed < 0.5 * len(lines)


@dataclass
class _Exercise:
    """A question with what followed it. `paragraphs` are given back when it makes no pair."""

    question: list[str]
    place: str
    paragraphs: list[Paragraph]
    answer: list[str] = field(default_factory=list)
    has_table: bool = False


class ExerciseReader:
    """Collects the paragraphs below a heading that announces exercises or their solutions."""

    def __init__(self) -> None:
        self._held: list[Paragraph] = []
        self._kind = ""
        # Numbered questions without an answer so far, from the last exercises of the text.
        self._waiting: dict[str, Pair] = {}

    def take(self, paragraph: Paragraph) -> Iterator[Pair | Paragraph | LeftOut] | None:
        """What became of the paragraph and of those held; None when it is held itself."""
        if paragraph.level and not (self._kind and _NUMBERED.match(paragraph.text)):
            released = list(self.release())
            if is_exercise_heading(paragraph.text):
                self._kind = "exercises"
            elif is_solution_heading(paragraph.text):
                self._kind = "solutions"
            return iter([*released, paragraph])
        if self._kind:
            self._held.append(paragraph)
            return None
        return iter([paragraph])

    def release(self) -> Iterator[Pair | Paragraph | LeftOut]:
        """The pairs of what is held, and the paragraphs that belong to none."""
        held, self._held = self._held, []
        kind, self._kind = self._kind, ""
        if kind == "solutions" and self._waiting:
            return self._solved(held)
        if kind == "exercises":
            return self._alternating(held)
        return iter(held)

    def close(self) -> Iterator[Pair | Paragraph | LeftOut]:
        """What is held, at the end of the text, and the questions that nothing answered."""
        yield from self.release()
        yield from self._unanswered()

    def _unanswered(self) -> Iterator[LeftOut]:
        waiting, self._waiting = self._waiting, {}
        return (LeftOut(UNANSWERED, pair.place) for pair in waiting.values())

    def _alternating(self, held: Sequence[Paragraph]) -> Iterator[Pair | Paragraph | LeftOut]:
        yield from self._unanswered()
        open_one: _Exercise | None = None
        for paragraph in held:
            text = paragraph.text.strip()
            if open_one is not None and _goes_on(open_one, text):
                open_one.paragraphs.append(paragraph)
                _add(open_one, text)
            elif is_request(text):
                if open_one is not None:
                    yield from self._finish(open_one)
                open_one = _Exercise([text], paragraph.place, [paragraph])
            else:
                yield paragraph
        if open_one is not None:
            yield from self._finish(open_one)

    def _finish(self, exercise: _Exercise) -> Iterator[Pair | Paragraph | LeftOut]:
        question, answer = "\n".join(exercise.question), "\n\n".join(exercise.answer)
        numbered = _NUMBERED.match(question)
        if numbered and not _SECOND.search(question, 1):
            question = numbered["text"]
        if not answer and numbered:
            self._waiting[numbered["number"]] = Pair(question, "", exercise.place)
        elif not answer:
            yield LeftOut(UNANSWERED, exercise.place)
        elif exercise.has_table or _lacks_part(question, exercise.answer):
            yield LeftOut(NEEDS_FIGURE, exercise.place)
        elif len(question) > _MAX_QUESTION_CHARS or len(answer) > _MAX_ANSWER_CHARS:
            yield from exercise.paragraphs
        else:
            if numbered and not _SECOND.search(answer, 1):
                answer = _NUMBERED.sub(r"\g<text>", answer, count=1)
            yield Pair(question, answer, exercise.place)

    def _solved(self, held: Sequence[Paragraph]) -> Iterator[Pair | Paragraph | LeftOut]:
        answers: list[tuple[str, list[str], Paragraph]] = []
        for paragraph in _by_number(held):
            numbered = _NUMBERED.match(paragraph.text)
            if numbered:
                answers.append((numbered["number"], [numbered["text"]], paragraph))
            elif answers:
                answers[-1][1].append(paragraph.text.strip())
            else:
                yield paragraph
        for number, texts, paragraph in answers:
            asked = self._waiting.pop(number, None)
            answer = "\n\n".join(texts)
            if asked is None:
                yield paragraph
            elif _lacks_part(asked.question, texts):
                yield LeftOut(NEEDS_FIGURE, asked.place)
            else:
                yield Pair(asked.question, answer, asked.place)


def _add(exercise: _Exercise, text: str) -> None:
    asks = is_request(text) or (_LISTS.search(exercise.question[-1]) and _is_list(text))
    if is_flattened_table(text):
        exercise.has_table = True
    elif not exercise.answer and asks:
        exercise.question.append(text)
    else:
        exercise.answer.append(text)


def _is_list(text: str) -> bool:
    return bool(_LETTERED.match(text) or _NUMBERED.match(text))


def _lacks_part(question: str, answers: Sequence[str]) -> bool:
    """Whether question or answer speak of a figure, a table or an equation that isn't there."""
    cut = any(
        part.rstrip().endswith((":", ",")) and not _is_list(following)
        for part, following in zip(answers, [*answers[1:], ""], strict=True)
    )
    return (
        cut or asks_to_draw(question) or needs_figure(question) or any(map(needs_figure, answers))
    )


def _goes_on(exercise: _Exercise, text: str) -> bool:
    """Whether a paragraph belongs to the exercise that is open."""
    if is_flattened_table(text) or not is_request(text):
        return True
    follows_up = not exercise.answer and len(text.split()) <= 12 and _FOLLOW_UP.match(text)
    return bool(_LETTERED.match(text) or follows_up)


def _by_number(held: Sequence[Paragraph]) -> Iterator[Paragraph]:
    """The paragraphs cut where a line opens a numbered answer."""
    for paragraph in held:
        lines: list[str] = []
        for line in paragraph.text.split("\n"):
            if lines and _NUMBERED.match(line):
                yield Paragraph("\n".join(lines), paragraph.place)
                lines = []
            lines.append(line)
        yield Paragraph("\n".join(lines), paragraph.place)
