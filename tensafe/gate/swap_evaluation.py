"""Reading what a slot is judged by: held-out examples and safety-critical prompts.

Nothing is curated here: what the operator wrote is what is asked, word for word.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from tensafe.data.records import Example, Message
from tensafe.errors import DataError

_ANSWERS = ("completion", "answer", "response", "reference")
_QUESTIONS = ("prompt", "question", "instruction")
_ROLES = ("system", "user", "assistant")


def read_held_out(path: Path) -> list[Example]:
    """Held-out examples of a JSONL file, or the test side of a data set folder.

    A line is `{"messages": [...]}` that ends with the assistant's turn, or a question and an answer
    (`prompt` and `completion`, or `question` and `answer`).

    Raises:
        DataError: names file and line, what was expected and what stands there.
    """
    if path.is_dir():
        from tensafe.curate.dataset_files import read_dataset

        folder = path / "dataset" if (path / "dataset").is_dir() else path
        return list(read_dataset(folder).test)
    found = [_example(path, number, line) for number, line in _lines(path)]
    if not found:
        raise DataError(f"{path}: no example in it; expected one JSON object a line")
    return found


def read_prompts(path: Path) -> list[str]:
    """Safety-critical prompts: a text file with one a line, or JSONL with a `prompt` a line.

    Raises:
        DataError: names file and line.
    """
    prompts: list[str] = []
    for number, line in _lines(path):
        if path.suffix != ".jsonl":
            prompts.append(line.strip())
            continue
        row = _object(path, number, line)
        text = next((row[key] for key in _QUESTIONS if isinstance(row.get(key), str)), None)
        if not text:
            raise DataError(f"{path}: line {number}: expected a text under `prompt`")
        prompts.append(cast("str", text))
    return prompts


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from error
    return [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number}: expected a JSON object")
    return cast("dict[str, Any]", row)


def _example(path: Path, number: int, line: str) -> Example:
    row = _object(path, number, line)
    messages = _messages(row)
    if messages is None:
        raise DataError(
            f"{path}: line {number}: expected `messages` that end with the assistant's turn, or "
            f"`prompt` and `completion`; found {', '.join(sorted(row))[:120] or 'nothing'}"
        )
    kind = "chat" if len(messages) > 2 else "qa"
    return Example(messages, path.name, str(number), f"{path.name}:{number}", kind)


def _messages(row: dict[str, Any]) -> tuple[Message, ...] | None:
    turns = row.get("messages")
    if turns is None:
        question = next((row[key] for key in _QUESTIONS if key in row), None)
        answer = next((row[key] for key in _ANSWERS if key in row), None)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if not isinstance(turns, list):
        return None
    found: list[Message] = []
    for turn in cast("list[object]", turns):
        part = cast("dict[str, object]", turn) if isinstance(turn, dict) else {}
        role, content = part.get("role"), part.get("content")
        if role not in _ROLES or not isinstance(content, str):
            return None
        found.append(Message(role=role, content=content))
    is_whole = len(found) >= 2 and found[-1]["role"] == "assistant" and found[-1]["content"].strip()
    return tuple(found) if is_whole else None
