"""Reading training records: what exporters write, as conversations and preferences.

Supervised records hold `messages` (the last turn is the assistant's), or `prompt` and `completion`.
Preferences hold `prompt`, `chosen` and `rejected`. A prompt or an answer is a text or a list of
messages. Other fields are ignored; a job keeps a record's provenance. A record of another shape is
refused by its number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aragora.errors import TrainingDataError
from tinker_engine.recipes.chat_format import ChatMessage

Record = Mapping[str, Any]
TrainingData = Iterable[Record] | str | Path
Conversation = tuple[ChatMessage, ...]
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Preference:
    """Two answers to the same prompt, of which the first is the better one."""

    prompt: Conversation
    chosen: str
    rejected: str


@dataclass(frozen=True)
class TrainingRecords:
    """What one data set holds; either part may be empty."""

    conversations: tuple[Conversation, ...]
    preferences: tuple[Preference, ...]


def read_records(data: TrainingData, *, limit: int | None = None) -> TrainingRecords:
    """Read records from memory, from a JSONL file, or from an export's `records`.

    Raises TrainingDataError naming the file or the record, and what was expected.
    """
    conversations: list[Conversation] = []
    preferences: list[Preference] = []
    for read, _ in _read(data, limit):
        if isinstance(read, Preference):
            preferences.append(read)
        else:
            conversations.append(read)
    return TrainingRecords(tuple(conversations), tuple(preferences))


def kept_records(data: TrainingData, *, limit: int | None = None) -> list[dict[str, Any]]:
    """Records as a job keeps them: what is trained on, and the provenance that they came with.

    Provenance is what the records of deleted debates are found by. Raises as `read_records`.
    """
    kept: list[dict[str, Any]] = []
    for read, provenance in _read(data, limit):
        row: dict[str, Any]
        if isinstance(read, Preference):
            prompt = [dict(m) for m in read.prompt]
            row = {"prompt": prompt, "chosen": read.chosen, "rejected": read.rejected}
        else:
            row = {"messages": [dict(m) for m in read]}
        kept.append(row if provenance is None else {**row, "provenance": provenance})
    return kept


def _read(data: TrainingData, limit: int | None) -> Iterator[tuple[Conversation | Preference, Any]]:
    for number, (where, record) in enumerate(_records(data)):
        if limit is not None and number >= limit:
            return
        is_pair = "chosen" in record or "rejected" in record
        read = _preference(record, where) if is_pair else _conversation(record, where)
        yield read, record.get("provenance")


def read_conversations(data: TrainingData, *, limit: int | None = None) -> tuple[Conversation, ...]:
    """Conversations to learn the last turn of; preferences beside them are for `train_dpo`.

    Raises TrainingDataError, also when there is none.
    """
    found = read_records(data, limit=limit)
    if found.conversations:
        return found.conversations
    if found.preferences:
        raise TrainingDataError(
            f"all {len(found.preferences)} records are preferences (chosen, rejected); train on "
            "them with train_dpo"
        )
    raise TrainingDataError(_EMPTY.format(what="`messages`, or `prompt` and `completion`"))


def read_preferences(data: TrainingData, *, limit: int | None = None) -> tuple[Preference, ...]:
    """Preferences; conversations beside them are for `train_sft`.

    Raises TrainingDataError, also when there is none.
    """
    found = read_records(data, limit=limit)
    if found.preferences:
        return found.preferences
    if found.conversations:
        raise TrainingDataError(
            f"none of {len(found.conversations)} records has `chosen` and `rejected`; train on "
            "them with train_sft"
        )
    raise TrainingDataError(_EMPTY.format(what="`prompt`, `chosen` and `rejected`"))


_EMPTY = (
    "there is nothing to train on: expected records with {what}; see what the database holds with "
    "`aragora training stats`, or loosen the export's filters"
)


def _records(data: TrainingData) -> Iterator[tuple[str, Record]]:
    if isinstance(data, str | Path):
        yield from _lines(Path(data))
        return
    rows: Iterable[Any] = getattr(data, "records", data)
    for number, row in enumerate(rows):
        yield _checked(row, f"record {number}")


def _lines(path: Path) -> Iterator[tuple[str, Record]]:
    try:
        # Only a line feed ends a record: texts hold other separators of lines.
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"{path}, line {number}"
                    try:
                        row: Any = json.loads(line)
                    except ValueError as error:
                        raise TrainingDataError(f"{where}: not JSON ({error})") from error
                    yield _checked(row, where)
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path}: can't be read: {error}") from error


def _checked(row: Any, where: str) -> tuple[str, Record]:
    if not isinstance(row, Mapping):
        raise TrainingDataError(f"{where}: expected an object, not {type(row).__name__}")
    return where, cast("Record", row)


def _conversation(record: Record, where: str) -> Conversation:
    if "messages" in record:
        messages = _messages(record["messages"], f"{where}: messages")
    elif "prompt" in record and "completion" in record:
        answer = _answer(record["completion"], f"{where}: completion")
        messages = (
            *_prompt(record["prompt"], f"{where}: prompt"),
            ChatMessage(role="assistant", content=answer),
        )
    else:
        raise TrainingDataError(
            f"{where}: expected `messages`, or `prompt` and `completion`; it has "
            f"{', '.join(sorted(map(str, record))) or 'nothing'}"
        )
    if messages[-1]["role"] != "assistant" or not messages[-1]["content"].strip():
        raise TrainingDataError(f"{where}: the last turn must be the assistant's, with some text")
    return messages


def _preference(record: Record, where: str) -> Preference:
    missing = [name for name in ("prompt", "chosen", "rejected") if name not in record]
    if missing:
        raise TrainingDataError(f"{where}: {missing[0]} is missing; a preference has it")
    chosen = _answer(record["chosen"], f"{where}: chosen")
    rejected = _answer(record["rejected"], f"{where}: rejected")
    if chosen == rejected:
        raise TrainingDataError(f"{where}: chosen and rejected are the same text")
    return Preference(_prompt(record["prompt"], f"{where}: prompt"), chosen, rejected)


def _prompt(value: Any, where: str) -> Conversation:
    if isinstance(value, str):
        return (ChatMessage(role="user", content=value),)
    return _messages(value, where)


def _answer(value: Any, where: str) -> str:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list):
        messages = _messages(cast("list[Any]", value), where)
        if len(messages) == 1 and messages[0]["role"] == "assistant":
            return _answer(messages[0]["content"], where)
    raise TrainingDataError(f"{where}: expected a text, or one turn of the assistant")


def _messages(value: Any, where: str) -> Conversation:
    if not isinstance(value, list | tuple) or not value:
        raise TrainingDataError(f"{where}: expected a list of turns with `role` and `content`")
    turns: list[ChatMessage] = []
    for number, turn in enumerate(cast("list[Any]", value)):
        role = turn.get("role") if isinstance(turn, Mapping) else None
        content = turn.get("content") if isinstance(turn, Mapping) else None
        if role not in _ROLES or not isinstance(content, str):
            raise TrainingDataError(
                f"{where}[{number}]: expected a role of {', '.join(_ROLES)} and a text as content"
            )
        turns.append(ChatMessage(role=role, content=content))
    return tuple(turns)
