"""Canonical JSON: the one byte form that is hashed and signed, and a strict parser for it.

Owns the mapping between JSON values and bytes. Refuses duplicate keys, NaN and infinities,
floats that do not survive a round trip, integers outside 64 bits, lone surrogates, and documents
that are too large, too deep or made of too many values: the limits hold before anything that
grows with hostile input is built.

Invariants: `parse(canonical_json(x)) == x`; the bytes that `parse_two_forms` accepts are exactly
`canonical_json(value)` or `reference_json(value)` of what it returns, so no byte of an accepted
document can change without the value changing.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import NoReturn, cast

from tensafe.errors import VerificationError

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 32
# A parsed value costs up to about 100 bytes however short its text, so 16 MiB of "[]," would
# take 600 MB; separators and brackets bound the number of values before parsing.
MAX_VALUES = 500_000


class JSONFormError(VerificationError):
    """A JSON document is not in an accepted form: the message says what and where."""


def canonical_json(value: object) -> bytes:
    """The bytes that hashes and signatures cover: sorted keys, no spaces, ASCII only.

    Raises:
        JSONFormError: the value holds something that canonical JSON can't carry.
    """
    _require_plain(value)
    return _canonical(value)


def reference_json(value: object) -> bytes:
    """The public reference writer's byte form: sorted keys, two-space indent, ASCII only."""
    _require_plain(value)
    return _reference(value)


def sha256_hex(data: bytes | memoryview) -> str:
    """Lower-case hex SHA-256 (64 digits)."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes, *, max_bytes: int = MAX_JSON_BYTES) -> dict[str, object]:
    """Parse a JSON object strictly, without demanding a byte form.

    Raises:
        JSONFormError: too large, not UTF-8, not JSON, not an object, or outside the limits above.
    """
    if len(data) > max_bytes:
        raise JSONFormError(f"JSON document of {len(data)} bytes: at most {max_bytes} are accepted")
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if values > MAX_VALUES:
        raise JSONFormError(f"JSON document holds more than {MAX_VALUES} values")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JSONFormError(f"not UTF-8 at byte {error.start}") from error
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_float,
            parse_int=_int,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise JSONFormError(f"not JSON at character {error.pos}: {error.msg}") from error
    except RecursionError as error:
        raise JSONFormError(f"nested deeper than {MAX_DEPTH} levels") from error
    if not isinstance(value, dict):
        raise JSONFormError("expected a JSON object at the top")
    _require_plain(cast("object", value))
    return cast("dict[str, object]", value)


def parse_two_forms(data: bytes, *, max_bytes: int = MAX_JSON_BYTES) -> dict[str, object]:
    """Parse a JSON object whose bytes are one of the two accepted forms, and no others.

    Raises:
        JSONFormError: as `parse`, or the bytes are in neither form.
    """
    value = parse(data, max_bytes=max_bytes)
    require_one_of_two_forms(data, value)
    return value


def require_one_of_two_forms(data: bytes, value: dict[str, object]) -> None:
    """Refuse bytes that spell `value`, which `parse` gave, in any way but the two accepted ones.

    Raises:
        JSONFormError: says where the bytes leave the canonical form.
    """
    canonical = _canonical(value)
    if data == canonical or (data.startswith(b"{\n") and data == _reference(value)):
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(data, canonical, strict=False)) if a != b),
        min(len(data), len(canonical)),
    )
    raise JSONFormError(
        "neither canonical JSON nor the reference writer's form "
        f"(first difference from canonical JSON at byte {place})"
    )


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _reference(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False).encode("ascii")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JSONFormError(f"key {_quoted(key)} stands twice in one object")
            seen.add(key)
    return value


def _float(token: str) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise JSONFormError(f"number {_quoted(token)} overflows")
    if float.__repr__(value) != token:
        raise JSONFormError(f"number {_quoted(token)} does not survive a round trip")
    return value


def _int(token: str) -> int:
    # 64 bits are what other languages' readers hold exactly; longer tokens are never converted.
    if len(token) > 20 or not -(2**63) <= int(token) < 2**64:
        raise JSONFormError(f"integer {_quoted(token)} does not fit in 64 bits")
    return int(token)


def _constant(token: str) -> NoReturn:
    raise JSONFormError(f"{token} is not a number that JSON knows")


def _quoted(text: str) -> str:
    shown = text if len(text) <= 40 else text[:40] + "…"
    return json.dumps(shown)


def _require_plain(value: object) -> None:
    """Refuse what JSON can't carry exactly; walks with a stack, so depth can't overflow it."""
    stack: list[tuple[object, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise JSONFormError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, dict):
            for key, child in cast("dict[object, object]", item).items():
                if not isinstance(key, str):
                    raise JSONFormError(f"object key {key!r} is not a string")
                _require_text(key)
                stack.append((child, depth + 1))
        elif isinstance(item, list):
            stack.extend((child, depth + 1) for child in cast("list[object]", item))
        else:
            _require_scalar(item)


def _require_scalar(item: object) -> None:
    if isinstance(item, str):
        _require_text(item)
    elif isinstance(item, float):
        if type(item) is not float:
            raise JSONFormError(f"{type(item).__name__} is not a plain float")
        if not math.isfinite(item):
            raise JSONFormError(f"{item} is not a number that JSON knows")
    elif isinstance(item, int) and not isinstance(item, bool):
        if not -(2**63) <= item < 2**64:
            raise JSONFormError("integer does not fit in 64 bits")
    elif item is not None and not isinstance(item, bool):
        raise JSONFormError(f"{type(item).__name__} has no place in JSON")


def _require_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise JSONFormError("text holds a lone surrogate, which is not Unicode") from error
