"""What was asked of a live adapter, what it answered, and what people thought of it.

A log is JSONL, one interaction a line, in OpenAI's layout:

    {"id": "a1", "messages": [{"role": "user", "content": "…"}], "response": "…", "thumbs": "down"}

`messages` ends with the assistant's turn, or `response` holds it (a text, or a whole chat
completion). Feedback is optional and stands in the line itself or in a file of its own, by `id`:
`rating` (1 to 5), `score` (0 to 1), `thumbs` (up or down), `edit` (the right answer, by somebody
who knows it) and `correction` (what the user said was wrong, in the user's own words).

Fields that are not known are left alone; a line that can't be used is named with what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from tensafe.data.records import Message, Unreadable
from tensafe.errors import DataError

_ROLES = ("system", "user", "assistant")
_UP: tuple[object, ...] = ("up", "+1", "yes", True, 1)
_DOWN: tuple[object, ...] = ("down", "-1", "no", False, 0, -1)
_ADVICE = "correct or delete the line; the other lines are used"


@dataclass(frozen=True)
class Feedback:
    """What people said of one answer. `rating` is 0 (bad) to 1 (good), None where nobody rated.

    `edit` is the answer as it should have been, `correction` a remark in the user's own words.
    """

    rating: float | None = None
    edit: str = ""
    correction: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nobody said anything."""
        return self.rating is None and not self.edit and not self.correction

    def over(self, earlier: Feedback) -> Feedback:
        """The same feedback, with what only the earlier one says."""
        return Feedback(
            earlier.rating if self.rating is None else self.rating,
            self.edit or earlier.edit,
            self.correction or earlier.correction,
        )


@dataclass(frozen=True)
class Interaction:
    """One exchange. `messages` end with the answer that the adapter gave.

    `adapter_digest` names the weights that answered, "" where the log doesn't say.
    """

    id: str
    messages: tuple[Message, ...]
    feedback: Feedback = Feedback()
    adapter_digest: str = ""
    place: str = ""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All turns before the answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """What the adapter said."""
        return self.messages[-1]["content"]

    @property
    def asked(self) -> str:
        """What the user said last."""
        said = [turn["content"] for turn in self.prompt if turn["role"] == "user"]
        return said[-1] if said else ""


@dataclass(frozen=True)
class InteractionLog:
    """The usable interactions in their order, and the lines that could not be used."""

    interactions: tuple[Interaction, ...]
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that is used."""
        lines = "\n".join(json.dumps(interaction_json(one)) for one in self.interactions)
        return hashlib.sha256(lines.encode("utf-8")).hexdigest()


Feedbacks = Mapping[str, Feedback]


def read_log(path: Path, feedback: Path | Feedbacks | None = None) -> InteractionLog:
    """The interactions of a JSONL file, with feedback from elsewhere put to them by id.

    Raises:
        DataError: the file can't be read, holds no usable line, or feedback names unknown ids.
    """
    interactions: list[Interaction] = []
    unreadable: list[Unreadable] = []
    for place, line in _lines(path):
        try:
            interactions.append(read_interaction(_object(line), place))
        except (ValueError, RecursionError) as error:
            unreadable.append(Unreadable(path.name, place, str(error), _ADVICE))
    if not interactions:
        first = f"{unreadable[0].place}: {unreadable[0].reason}" if unreadable else "it is empty"
        raise DataError(
            f"{path}: no usable interaction ({first}); expected one JSON object a line with "
            '"messages" that end with the assistant\'s answer, or with "response" beside them'
        )
    given = read_feedback(feedback) if isinstance(feedback, Path) else dict(feedback or {})
    return InteractionLog(with_feedback(interactions, given), tuple(unreadable))


def read_feedback(path: Path) -> dict[str, Feedback]:
    """Feedback by interaction id; later lines win over earlier ones.

    Raises:
        DataError: a line has no id or can't be understood.
    """
    found: dict[str, Feedback] = {}
    for place, line in _lines(path):
        try:
            record = _object(line)
            key = record.get("id")
            if not isinstance(key, str) or not key:
                raise ValueError('there is no "id" that names the interaction')
            found[key] = feedback_of(record).over(found.get(key, Feedback()))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: {place}: {error}; correct or delete the line") from error
    return found


def with_feedback(
    interactions: Iterable[Interaction], feedback: Feedbacks
) -> tuple[Interaction, ...]:
    """The interactions with further feedback.

    Raises:
        DataError: it speaks of an interaction that is not there.
    """
    left, merged = set(feedback), list[Interaction]()
    for one in interactions:
        left.discard(one.id)
        further = feedback.get(one.id)
        merged.append(one if further is None else replace(one, feedback=further.over(one.feedback)))
    if left:
        raise DataError(
            f"feedback for {len(left)} interactions that the log doesn't hold, such as "
            f"{min(left)!r}; give the log that they come from"
        )
    return tuple(merged)


def read_interaction(record: dict[str, Any], place: str = "") -> Interaction:
    """An interaction from its JSON object; raises ValueError that says what is wrong with it."""
    messages = _messages(record.get("messages"))
    if "response" in record:
        messages = (*messages, Message(role="assistant", content=_response(record["response"])))
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise ValueError(
            'the last of "messages" is not an answer of the assistant, and there is no "response"'
        )
    if not any(turn["role"] == "user" for turn in messages):
        raise ValueError('no turn of "messages" has the role user')
    if not messages[-1]["content"].strip():
        raise ValueError("the answer is empty")
    key = record.get("id")
    digest = record.get("adapter_digest") or record.get("system_fingerprint")
    if not digest and isinstance(record.get("response"), dict):
        digest = record["response"].get("system_fingerprint")
    return Interaction(
        id=str(key) if key else _digest(messages),
        messages=messages,
        feedback=feedback_of(record),
        adapter_digest=digest if isinstance(digest, str) else "",
        place=place,
    )


def interaction_json(one: Interaction) -> dict[str, Any]:
    """The JSON object that `read_interaction` reads."""
    record: dict[str, Any] = {"id": one.id, "messages": [dict(turn) for turn in one.messages]}
    if one.adapter_digest:
        record["adapter_digest"] = one.adapter_digest
    return record | feedback_json(one.feedback)


def feedback_json(feedback: Feedback) -> dict[str, Any]:
    """The fields of feedback that were given."""
    fields = {"edit": feedback.edit, "correction": feedback.correction}
    record: dict[str, Any] = {name: text for name, text in fields.items() if text}
    return record if feedback.rating is None else record | {"score": feedback.rating}


def feedback_of(record: Mapping[str, Any]) -> Feedback:
    """The feedback of a JSON object; raises ValueError that names the field.

    Several opinions in one record are taken at their lowest.
    """
    ratings = [
        rating
        for rating in (
            _scaled(record.get("rating"), "rating", 1.0, 5.0),
            _scaled(record.get("score"), "score", 0.0, 1.0),
            _thumbs(record.get("thumbs")),
        )
        if rating is not None
    ]
    return Feedback(
        rating=min(ratings, default=None),
        edit=_text(record.get("edit"), "edit"),
        correction=_text(record.get("correction"), "correction"),
    )


def _scaled(value: object, name: str, low: float, high: float) -> float | None:
    if value is None:
        return None
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    if not low <= number <= high:
        raise ValueError(f'"{name}" is {value!r}; expected a number from {low:g} to {high:g}')
    return (number - low) / (high - low)


def _thumbs(value: object) -> float | None:
    if value is None:
        return None
    folded = value.strip().lower() if isinstance(value, str) else value
    if any(folded is known or (folded == known and type(folded) is type(known)) for known in _UP):
        return 1.0
    if any(folded is known or (folded == known and type(folded) is type(known)) for known in _DOWN):
        return 0.0
    raise ValueError(f'"thumbs" is {value!r}; expected up or down')


def _text(value: object, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f'"{name}" is not a text')
    return value.strip()


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError('there is no list "messages"')
    turns: list[Message] = []
    for number, turn in enumerate(cast("Sequence[object]", value), start=1):
        fields = cast("dict[str, object]", turn) if isinstance(turn, dict) else {}
        role, content = fields.get("role"), fields.get("content")
        if role == "developer":
            role = "system"
        if role not in _ROLES or not isinstance(content, str):
            raise ValueError(f"message {number} has no known role with a text as its content")
        turns.append(Message(role=cast(Any, role), content=content))
    return tuple(turns)


def _response(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        content: object = cast(Any, value)["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise ValueError('"response" is neither a text nor a chat completion with one')
    return content


def _digest(messages: Sequence[Message]) -> str:
    text = json.dumps([dict(turn) for turn in messages], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def _object(line: str) -> dict[str, Any]:
    value: object = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("a JSON object was expected")
    return cast("dict[str, Any]", value)


def _lines(path: Path) -> Iterable[tuple[str, str]]:
    """(place, line) of a text file's lines that hold anything.

    Raises:
        DataError: it can't be read, or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give a JSONL file of interactions") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from error
    # Not splitlines: U+2028 is legal inside JSON strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", line
