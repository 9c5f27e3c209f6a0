"""Mutations of package bytes for the fuzzer: of bytes, of lengths, and of parsed JSON.

Everything comes from the generator that is handed in: the same seed makes the same cases.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any, cast

_TOKENS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"true", b"NaN", b"-Infinity", b"1e999",
    b"-0", b"0.0", b"1E5", b"18446744073709551616", b"9" * 400, b"\\ud800", b"\\u0000", b"\xff\xfe",
    b"\xed\xa0\x80", b"\x00", b" ", b"\n", b'"dtype"', b'"shape"', b'"data_offsets"',
    b'"__metadata__"', b'"signatures"', b'"signed_fields"', b"[" * 40, b'{"a":' * 40, b"PK\x03\x04",
    b"\x80\x04", b"GGUF", b"TGSP\x01\x00",
)  # fmt: skip
_LENGTHS = (0, 1, 2, 7, 8, 9, 127, 255, 4095, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5, -0.0, 1e308,
    5e-324, "", "a", "\u0000", "é", "\U0001f600", "0" * 64, "f" * 64, "x" * 300, [], {}, [[]],
    [None], {"": ""}, {"a": {"b": {}}}, ["a", "a"], "F32", "BF16", "I8", [0, 0], [2, 0], [1] * 20,
    [0, 2**63], "1.1", "TGSP", "SHA-256", "RVUv2",
)  # fmt: skip
_MAX_BYTES = 40_000


def bytewise(data: bytes, generator: random.Random) -> bytes:
    """One to four changes anywhere in the bytes."""
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        generator.choice(_BYTEWISE)(changed, generator)
    return bytes(changed[:_MAX_BYTES])


def lengthwise(data: bytes, generator: random.Random, place: int, width: int) -> bytes:
    """The little-endian length at `place` set to an extreme or a neighbour of its own value."""
    own = int.from_bytes(data[place : place + width], "little")
    value = generator.choice((*_LENGTHS, own - 1, own + 1, own * 2, len(data), len(data) - place))
    value %= 1 << (8 * width)
    return data[:place] + value.to_bytes(width, "little") + data[place + width :]


def treewise(document: dict[str, Any], generator: random.Random) -> dict[str, Any]:
    """A copy of a JSON object with one to three of its nodes changed."""
    changed: dict[str, Any] = copy.deepcopy(document)
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        generator.choice(_TREEWISE)(changed, generator)
    return changed


def spelled(document: dict[str, Any], generator: random.Random) -> bytes:
    """JSON bytes: mostly one of the two accepted forms, sometimes another spelling."""
    style = generator.random()
    if style < 0.6:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    elif style < 0.8:
        text = json.dumps(document, sort_keys=True, indent=2)
    elif style < 0.9:
        text = json.dumps(document, separators=(",", ":"))
    else:
        text = _doubled(json.dumps(document, sort_keys=True, separators=(",", ":")), generator)
    return text.encode("utf-8", "surrogatepass")


def _doubled(text: str, generator: random.Random) -> str:
    """The text with a key that stands twice, where it has one at all."""
    places = [i for i, mark in enumerate(text) if mark in "{,"]
    place = generator.choice(places)
    end = text.find(",", place + 1)
    if end < 0:
        return text
    return f"{text[:end]},{text[place + 1 : end]}{text[end:]}"


def _flip(data: bytearray, generator: random.Random) -> None:
    if data:
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)


def _set(data: bytearray, generator: random.Random) -> None:
    if data:
        data[generator.randrange(len(data))] = generator.randrange(256)


def _insert(data: bytearray, generator: random.Random) -> None:
    place = generator.randrange(len(data) + 1)
    data[place:place] = generator.choice(_TOKENS)


def _overwrite(data: bytearray, generator: random.Random) -> None:
    place, token = generator.randrange(len(data) + 1), generator.choice(_TOKENS)
    data[place : place + len(token)] = token


def _cut(data: bytearray, generator: random.Random) -> None:
    begin, end = sorted(generator.randrange(len(data) + 1) for _ in range(2))
    if generator.random() < 0.8:
        end = min(end, begin + 16)
    del data[begin:end]


def _repeat(data: bytearray, generator: random.Random) -> None:
    begin = generator.randrange(len(data) + 1)
    piece = bytes(data[begin : begin + generator.choice((1, 4, 32, 500))])
    place = generator.randrange(len(data) + 1)
    data[place:place] = piece


def _truncate(data: bytearray, generator: random.Random) -> None:
    del data[generator.randrange(len(data) + 1) :]


def _extend(data: bytearray, generator: random.Random) -> None:
    data += generator.choice(_TOKENS)


_BYTEWISE: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _set, _insert, _overwrite, _cut, _repeat, _truncate, _extend,
)  # fmt: skip


def _containers(document: dict[str, Any]) -> list[dict[str, Any] | list[Any]]:
    """All objects and lists of the document that have something in them."""
    found: list[dict[str, Any] | list[Any]] = []
    stack: list[object] = [document]
    while stack:
        item = stack.pop()
        if isinstance(item, dict) and item:
            entries = cast("dict[str, Any]", item)
            found.append(entries)
            stack.extend(entries.values())
        elif isinstance(item, list) and item:
            values = cast("list[Any]", item)
            found.append(values)
            stack.extend(values)
    return found


def _place(
    document: dict[str, Any], generator: random.Random
) -> tuple[dict[str, Any] | list[Any], Any]:
    holder = generator.choice(_containers(document) or [{"": None}])
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    return holder, generator.choice(keys)


def _replace(document: dict[str, Any], generator: random.Random) -> None:
    holder, key = _place(document, generator)
    holder[key] = copy.deepcopy(generator.choice(_VALUES))


def _nudge(document: dict[str, Any], generator: random.Random) -> None:
    holder, key = _place(document, generator)
    value: object = holder[key]
    if isinstance(value, bool):
        holder[key] = not value
    elif isinstance(value, int | float):
        holder[key] = value + generator.choice((-1, 1, 4, 1024))
    elif isinstance(value, str) and value:
        place = generator.randrange(len(value))
        holder[key] = value[:place] + generator.choice("0aZ= \u00e9") + value[place + 1 :]


def _remove(document: dict[str, Any], generator: random.Random) -> None:
    holder, key = _place(document, generator)
    del holder[key]


def _rename(document: dict[str, Any], generator: random.Random) -> None:
    holder, key = _place(document, generator)
    if isinstance(holder, dict):
        holder[generator.choice((key + "_", key[:-1], key.upper(), "", "x" * 200))] = holder.pop(
            key
        )


def _move(document: dict[str, Any], generator: random.Random) -> None:
    (one, first), (two, second) = (_place(document, generator) for _ in range(2))
    two[second] = copy.deepcopy(one[first])


def _grow(document: dict[str, Any], generator: random.Random) -> None:
    holder, key = _place(document, generator)
    value: Any = holder[key]
    for _ in range(generator.choice((1, 3, 40))):
        value = [value] if generator.random() < 0.5 else {"a": value}
    holder[key] = value


_TREEWISE: tuple[Callable[[dict[str, Any], random.Random], None], ...] = (
    _replace, _replace, _nudge, _nudge, _remove, _rename, _move, _grow,
)  # fmt: skip
