"""Reads JSONL and JSON.

JSONL is split at the newline character alone: U+2028 and its kin are legal inside JSON strings.
A JSON array is decoded element by element, so that its size does not matter, and what follows it is
read too; a JSON object has to be decoded whole and is refused above 256 MiB.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO, cast

from tensafe.data.delimited import broken_bytes
from tensafe.data.encoding import TextEncoding, open_text
from tensafe.data.items import Item, OpenedSource, Row
from tensafe.data.records import Unreadable

_MAX_LINE_CHARS = 64 << 20
_MAX_OBJECT_CHARS = 256 << 20
_CHUNK_CHARS = 1 << 20
_SPACE = " \t\r\n"


def open_jsonl(path: Path, name: str, encoding: TextEncoding) -> OpenedSource:
    """One record, or a list of records, a line. A file that is one JSON array is read as that.

    Raises:
        OSError: the file can't be opened.
    """
    if _is_one_array(path, encoding):
        return OpenedSource(
            "JSONL", f"{encoding.label}, one JSON array", _array(path, name, encoding)
        )
    return OpenedSource(
        "JSONL", f"{encoding.label}, one record a line", _lines(path, name, encoding)
    )


def open_json(path: Path, name: str, encoding: TextEncoding) -> OpenedSource:
    """Records of an array, of the lists in an object, or of several values one after another.

    Raises:
        OSError: the file can't be opened.
    """
    with open_text(path, encoding, newline="\n") as file:
        first = _first_char(file)
    if first == "[":
        return OpenedSource("JSON", f"{encoding.label}, array", _array(path, name, encoding))
    if path.stat().st_size > _MAX_OBJECT_CHARS:
        # One object per line has no limit; only a single giant object is beyond this reader.
        return OpenedSource("JSON", f"{encoding.label}, large", _lines(path, name, encoding))
    with open_text(path, encoding, newline="\n") as file:
        text = file.read()
    try:
        value = _decode(text)
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            detail = f"{encoding.label}, several values"
            return OpenedSource("JSON", detail, _lines(path, name, encoding))
        bad = Unreadable(
            name, _where(error), f"not valid JSON: {_why(error)}", "correct it and read again"
        )
        return OpenedSource("JSON", encoding.label, iter([bad]))
    return OpenedSource("JSON", f"{encoding.label}, object", _object_rows(name, value))


def record_of(value: object, name: str, place: str) -> Item:
    """A JSON value as a row, or the reason why it can't be one."""
    if isinstance(value, dict):
        return Row(cast("dict[str, object]", value), place)
    if isinstance(value, str):
        return Row({"text": value}, place)
    if isinstance(value, list):
        cells = cast("list[object]", value)
        return Row({f"column {i}": cell for i, cell in enumerate(cells, start=1)}, place)
    return Unreadable(
        name,
        place,
        f"a JSON object was expected, found {json.dumps(value)[:40]}",
        'write each record as {"question": ..., "answer": ...}',
    )


def _lines(path: Path, name: str, encoding: TextEncoding) -> Iterator[Item]:
    if encoding.broken:
        yield broken_bytes(name, encoding)
    with open_text(path, encoding, newline="\n") as file:
        number = 0
        while line := file.readline(_MAX_LINE_CHARS):
            number += 1
            place = f"line {number}"
            if len(line) >= _MAX_LINE_CHARS:
                yield Unreadable(
                    name, place, "the line is longer than 64 million characters", "split the record"
                )
                return
            if not line.strip(_SPACE + "\ufeff"):
                continue
            try:
                value = _decode(line.strip(_SPACE + "\ufeff"))
            except ValueError as error:
                yield Unreadable(
                    name,
                    place,
                    f"not valid JSON: {_why(error)}",
                    "correct or delete the line; the other lines are used",
                )
            else:
                yield from _records_of_line(value, name, place)


def _records_of_line(value: object, name: str, place: str) -> Iterator[Item]:
    records = cast("list[object]", value) if isinstance(value, list) else []
    objects = _dicts(records)
    if not objects:
        yield record_of(value, name, place)
        return
    if len(objects) == len(records) and all("role" in turn for turn in objects):
        # The turns of one chat.
        yield Row({"messages": records}, place)
        return
    for index, record in enumerate(records, start=1):
        yield record_of(record, name, f"{place}, record {index}")


def _array(path: Path, name: str, encoding: TextEncoding) -> Iterator[Item]:
    if encoding.broken:
        yield broken_bytes(name, encoding)
    decoder = json.JSONDecoder()
    with open_text(path, encoding, newline="\n") as file:
        buffer, index, want = "", 0, _CHUNK_CHARS
        opened = False
        while True:
            buffer = buffer.lstrip(_SPACE + ",\ufeff")
            if not opened and buffer.startswith("["):
                opened, buffer = True, buffer[1:].lstrip(_SPACE)
            if opened and buffer.startswith("]"):
                # Another array or more records may follow.
                opened, buffer = False, buffer[1:]
                continue
            if not buffer and not opened:
                buffer = file.read(want)
                if not buffer:
                    return
                continue
            try:
                value, end = cast("tuple[object, int]", decoder.raw_decode(buffer))
                if end == len(buffer) and _more(file, want):
                    # A number may go on in the next chunk; only a following character ends it.
                    raise json.JSONDecodeError("cut", buffer, end)
            except (ValueError, RecursionError) as error:
                more = file.read(want)
                if more and len(buffer) < _MAX_LINE_CHARS:
                    # Doubling keeps the work linear when one element spans many chunks.
                    buffer, want = buffer + more, want * 2
                    continue
                yield _broken_off(name, index, error)
                return
            buffer, want = buffer[end:], _CHUNK_CHARS
            index += 1
            yield from _listed(value, name, f"record {index}", index)


def _more(file: TextIO, want: int) -> bool:
    position = file.tell()
    more = bool(file.read(1))
    file.seek(position)
    return more and want > 0


def _broken_off(name: str, index: int, error: Exception) -> Unreadable:
    return Unreadable(
        name,
        f"record {index + 1}",
        f"not valid JSON from here on: {_why(error)}",
        f"correct the file; the {index} records before this place are used",
    )


def _listed(value: object, name: str, place: str, number: int) -> Iterator[Item]:
    """The records of one element of a list: several where it is one of SQuAD's articles."""
    if isinstance(value, dict) and "paragraphs" in value:
        yield from _squad(cast("dict[str, object]", value), name, number)
    else:
        yield record_of(value, name, place)


def _object_rows(name: str, value: object) -> Iterator[Item]:
    if not isinstance(value, dict):
        yield record_of(value, name, "record 1")
        return
    mapping = cast("dict[str, object]", value)
    lists = {key: rows for key, rows in mapping.items() if _is_record_list(rows)}
    chat_keys = {"messages", "conversation", "conversations", "turns", "dialog", "dialogue"}
    if lists and not chat_keys & set(lists):
        for key, rows in lists.items():
            for index, record in enumerate(cast("list[object]", rows), start=1):
                yield from _listed(record, name, f"{key}[{index}]", index)
    elif mapping and all(isinstance(row, dict) for row in mapping.values()):
        for key, row in mapping.items():
            yield Row(cast("dict[str, object]", row), f"key {key!r}")
    elif len(mapping) > 1 and _is_faq(mapping):
        for index, (question, answer) in enumerate(mapping.items(), start=1):
            yield Row({"question": question, "answer": answer}, f"entry {index}")
    elif _is_columns(mapping):
        columns = cast("dict[str, list[object]]", mapping)
        for index, cells in enumerate(zip(*columns.values(), strict=True), start=1):
            yield Row(dict(zip(columns, cells, strict=True)), f"row {index}")
    else:
        yield Row(mapping, "record 1")


def _squad(article: Mapping[str, object], name: str, number: int) -> Iterator[Item]:
    """The questions of an article of SQuAD's as rows of context, question and answers."""
    for p, paragraph in enumerate(_dicts(article.get("paragraphs")), start=1):
        context = paragraph.get("context")
        place = f"article {number}, paragraph {p}"
        if not isinstance(context, str):
            yield Unreadable(
                name, place, "the paragraph has no context", "add its text as 'context'"
            )
            continue
        passage = hashlib.sha256(context.encode("utf-8", "replace")).hexdigest()[:16]
        for q, entry in enumerate(_dicts(paragraph.get("qas")), start=1):
            fields = {
                "context": context,
                "question": entry.get("question"),
                "answers": entry.get("answers"),
            }
            yield Row(fields, f"{place}, question {q}", passage)


def _dicts(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list):
        return []
    entries = cast("list[object]", value)
    return [cast("dict[str, object]", entry) for entry in entries if isinstance(entry, dict)]


def _is_record_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and len(_dicts(cast("object", value))) > 0


def _is_faq(mapping: Mapping[str, object]) -> bool:
    questions = sum(key.rstrip().endswith("?") or len(key.split()) > 3 for key in mapping)
    all_text = all(isinstance(answer, str) for answer in mapping.values())
    return all_text and questions > len(mapping) / 2


def _is_columns(mapping: Mapping[str, object]) -> bool:
    lists = [cast("list[object]", cells) for cells in mapping.values() if isinstance(cells, list)]
    return bool(lists) and len(lists) == len(mapping) and len({len(cells) for cells in lists}) == 1


def _decode(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _first_char(file: TextIO) -> str:
    while chunk := file.read(_CHUNK_CHARS):
        rest = chunk.lstrip(_SPACE + "\ufeff")
        if rest:
            return rest[0]
    return ""


def _is_one_array(path: Path, encoding: TextEncoding) -> bool:
    """Whether a file begins with an array that is the whole of it, or is no line of its own."""
    with open_text(path, encoding, newline="\n") as file:
        if _first_char(file) != "[":
            return False
        file.seek(0)
        filled = (line for line in file if line.strip(_SPACE + "\ufeff"))
        first, is_alone = next(filled, ""), next(filled, None) is None
    try:
        value = json.loads(first.strip(_SPACE + "\ufeff"))
    except (ValueError, RecursionError):
        return True
    return is_alone and isinstance(value, list) and bool(_dicts(cast("object", value)))


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return str(error) or type(error).__name__


def _where(error: Exception) -> str:
    return f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
