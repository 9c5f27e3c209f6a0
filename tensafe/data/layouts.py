"""Turns one row into one example, for every layout that training data comes in.

Chats: the last assistant turn is learned, with all earlier turns as its prompt; a greeting that
the assistant says before anybody asked is left out, and so is what follows the last answer.
Preference rows (`chosen`, `rejected`): the preferred answer is learned where the row says what was
asked; the rejected one never is. Texts that are only compared with each other are counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from tensafe.data.columns import ColumnMapping, cell_text, plain_name
from tensafe.data.items import Row
from tensafe.data.records import Example, Message

_CHAT_KEYS = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "chat")
_ROLE_KEYS = ("role", "from", "speaker", "author", "sender")
_TEXT_KEYS = ("content", "value", "text", "message", "utterance")
_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "customer": "user", "client": "user", "prompter": "user",
    "question": "user", "caller": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "agent": "assistant",
    "model": "assistant", "ai": "assistant", "chatgpt": "assistant", "answer": "assistant",
    "support": "assistant",
}  # fmt: skip
_NO_INPUT = {"", "none", "n/a", "na", "<noinput>", "no input", "null"}
_PROMPT_KEYS = ("prompt", "question", "instruction", "input", "query")
_TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
PREFERENCE = "preference pair without a question, not learned from"


@dataclass(frozen=True)
class Skipped:
    """A row that gives no example, and why, in the words of the report."""

    reason: str
    place: str


def chat_layout(fields: Mapping[str, object]) -> str | None:
    """The name of the chat layout of a row, or None for an ordinary row."""
    turns = _turns(fields)
    if turns is None:
        return None
    keys = {key for turn in turns for key in turn}
    return "sharegpt" if "from" in keys else "messages"


def is_preference(fields: Mapping[str, object]) -> bool:
    """Whether a row holds a preferred and a rejected answer."""
    return {"chosen", "rejected"} <= {plain_name(name) for name in fields}


def example_from_preference(row: Row, source: str) -> Example | Skipped:
    """An example whose learned turn is the preferred answer of a preference row."""
    fields = {plain_name(name): value for name, value in row.fields.items()}
    chosen = fields.get("chosen")
    turns = _messages(chosen) or _transcript(cell_text(chosen))
    if not any(_ROLES.get(_role(turn)) == "user" for turn in turns):
        asked = next((fields[key] for key in _PROMPT_KEYS if fields.get(key)), None)
        before = _messages(asked) or _transcript(cell_text(asked))
        if not before and not cell_text(asked):
            return Skipped(PREFERENCE, row.place)
        before = before or [{"role": "user", "content": cell_text(asked)}]
        turns = [*before, *(turns or [{"role": "assistant", "content": cell_text(chosen)}])]
    chat = {"system": fields.get("system"), "messages": turns}
    return example_from_chat(Row(chat, row.place, row.passage), source)


def _messages(value: object) -> list[Mapping[str, object]]:
    return list(_turns({"messages": value}) or ())


def _transcript(text: str) -> list[Mapping[str, object]]:
    """The turns of a text that says `Human:` and `Assistant:` before each."""
    parts = _TRANSCRIPT.split(text)
    if len(parts) < 3 or parts[0].strip():
        return []
    return [
        {"role": role, "content": content.strip()}
        for role, content in zip(parts[1::2], parts[2::2], strict=True)
    ]


def _role(turn: Mapping[str, object]) -> str:
    return cell_text(next((turn[key] for key in _ROLE_KEYS if key in turn), None)).lower()


def example_from_chat(row: Row, source: str) -> Example | Skipped:
    """An example whose learned turn is the last assistant turn of a chat row."""
    messages: list[Message] = []
    system = cell_text(row.fields.get("system"))
    if system:
        messages.append({"role": "system", "content": system})
    for turn in _turns(row.fields) or ():
        named = next((turn[key] for key in _ROLE_KEYS if key in turn), None)
        role = _ROLES.get(cell_text(named).lower())
        content = _content(next((turn[key] for key in _TEXT_KEYS if key in turn), None))
        if role is None:
            return Skipped(f"chat with a turn of unknown role {cell_text(named)!r}", row.place)
        if content:
            _append(messages, role, content)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if not any(message["role"] == "user" for message in messages):
        return Skipped("chat without an answer to a user", row.place)
    kind = "chat" if sum(message["role"] == "user" for message in messages) > 1 else "qa"
    return Example(tuple(messages), source, row.place, _group(row, source), kind)


def _append(
    messages: list[Message], role: Literal["system", "user", "assistant"], content: str
) -> None:
    if messages and messages[-1]["role"] == role:
        joined = f"{messages[-1]['content']}\n\n{content}"
        messages[-1] = {"role": role, "content": joined}
    elif role != "assistant" or any(message["role"] == "user" for message in messages):
        messages.append({"role": role, "content": content})


def example_from_columns(row: Row, source: str, mapping: ColumnMapping) -> Example | Skipped:
    """An example from a row of a table."""
    answer = _answer(row.fields.get(mapping.answer))
    asked = _question(row.fields, mapping)
    if not answer and not asked:
        return Skipped("empty row", row.place)
    if not answer:
        return Skipped("no answer", row.place)
    if not asked:
        return Skipped("no question", row.place)
    context = cell_text(row.fields.get(mapping.context)) if mapping.context else ""
    system = cell_text(row.fields.get(mapping.system)) if mapping.system else ""
    messages: list[Message] = []
    if system:
        messages.append({"role": "system", "content": system})
    messages.append({"role": "user", "content": f"{context}\n\n{asked}" if context else asked})
    messages.append({"role": "assistant", "content": answer})
    return Example(tuple(messages), source, row.place, _group(row, source, context))


def _question(fields: Mapping[str, object], mapping: ColumnMapping) -> str:
    texts = {name: cell_text(fields.get(name)) for name in mapping.questions}
    if mapping.layout == "instruction":
        instruction, extra = texts.values()
        return instruction if extra.lower() in _NO_INPUT else f"{instruction}\n\n{extra}"
    filled = {name: text for name, text in texts.items() if text}
    if len(mapping.questions) == 1 or not filled:
        return next(iter(filled.values()), "")
    return "\n".join(f"{name}: {text}" for name, text in filled.items())


def _answer(cell: object) -> str:
    """The answer as text: SQuAD's answer lists give their first, other lists their first text."""
    if isinstance(cell, dict):
        fields = cast("dict[str, object]", cell)
        return _answer(fields.get("text", fields.get("answer")))
    if isinstance(cell, list):
        entries = cast("list[object]", cell)
        return next((text for entry in entries if (text := _answer(entry))), "")
    return cell_text(cell)


def _group(row: Row, source: str, context: str = "") -> str:
    if row.passage:
        return f"passage:{row.passage}"
    if context:
        import hashlib

        digest = hashlib.sha256(context.encode("utf-8", "replace")).hexdigest()
        return f"passage:{digest[:16]}"
    return f"{source}#{row.place}"


def _turns(fields: Mapping[str, object]) -> Sequence[Mapping[str, object]] | None:
    for key in _CHAT_KEYS:
        value = fields.get(key)
        if isinstance(value, str) and value.lstrip().startswith("[{"):
            value = _from_json(value)
        if isinstance(value, list) and value:
            entries = cast("list[object]", value)
            if all(isinstance(entry, dict) for entry in entries):
                return cast("list[dict[str, object]]", entries)
    return None


def _from_json(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None


def _content(value: object) -> str:
    """The text of a turn; OpenAI's list of parts gives its text parts."""
    if isinstance(value, list):
        parts = [
            cell_text(cast("dict[str, object]", part).get("text"))
            for part in cast("list[object]", value)
            if isinstance(part, dict)
        ]
        return "\n".join(part for part in parts if part)
    return cell_text(value)
