"""Canonical JSON: one byte form, strict parsing, limits before allocation."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensafe.tgsp.canonical import (
    MAX_DEPTH,
    JSONFormError,
    canonical_json,
    parse,
    parse_two_forms,
    reference_json,
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8
)
objects = st.dictionaries(texts, values)


@given(objects)
def test_both_forms_survive_a_round_trip(value: dict[str, object]) -> None:
    for data in (canonical_json(value), reference_json(value)):
        again = parse_two_forms(data)
        assert again == value
        assert canonical_json(again) == canonical_json(value)


@given(objects)
def test_canonical_form_is_the_formats_own_formula(value: dict[str, object]) -> None:
    assert canonical_json(value) == json.dumps(value, sort_keys=True, separators=(",", ":")).encode(
        "utf-8"
    )


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_the_one_error(data: bytes) -> None:
    try:
        value = parse_two_forms(data)
    except JSONFormError:
        return
    assert data in (canonical_json(value), reference_json(value))


@given(objects, st.data())
def test_a_changed_byte_changes_the_value_or_is_refused(
    value: dict[str, object], data: st.DataObject
) -> None:
    original = canonical_json(value)
    place = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        again = parse_two_forms(bytes(changed))
    except JSONFormError:
        return
    assert canonical_json(again) != original


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a":1,"a":1}', "twice"),
        ('{"a":{"b":1,"b":2}}', "twice"),
        ('{"a":NaN}', "NaN"),
        ('{"a":Infinity}', "Infinity"),
        ('{"a":-Infinity}', "Infinity"),
        ('{"a":1e999}', "overflows"),
        ('{"a":0.1000000000000000000001}', "round trip"),
        ('{"a":1.50}', "round trip"),
        ('{"a":1E5}', "round trip"),
        ('{"a":18446744073709551616}', "64 bits"),
        ('{"a":' + "9" * 5000 + "}", "64 bits"),
        ('{"a":"\\ud800"}', "surrogate"),
        ('{"\\udfff":1}', "surrogate"),
        ("[1]", "object"),
        ("", "not JSON"),
        ("{}{}", "not JSON"),
        ('\ufeff{"a":1}', "not JSON"),
        ('{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}", "nested"),
        ('{"a":' + "[" * 100_000 + "}", "nested"),
        ('{"a":[' + "[]," * 600_000 + "0]}", "values"),
    ],
)
def test_refusals_say_why(text: str, reason: str) -> None:
    with pytest.raises(JSONFormError, match=reason):
        parse(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}',
        b'{"b":1,"a":1}',
        b'{"a":1}\n',
        b' {"a":1}',
        b'{"a":"\xc3\xa9"}',
        b'{"a":"\\u00E9"}',
        b'{"a":"\\/"}',
        b'{"a":-0}',
        b'{\n "a": 1\n}',
    ],
)
def test_every_other_spelling_is_refused(data: bytes) -> None:
    parse(data)
    with pytest.raises(JSONFormError, match="neither canonical"):
        parse_two_forms(data)


@pytest.mark.parametrize(
    "value", [{"a": float("nan")}, {1: 2}, {"a": (1,)}, {"a": b""}, {"a": {1}}]
)
def test_what_json_cannot_carry_is_not_written(value: object) -> None:
    with pytest.raises(JSONFormError):
        canonical_json(value)


def test_a_document_of_tiny_values_costs_no_memory() -> None:
    data = b'{"a":[' + b"[]," * 5_000_000 + b"0]}"
    tracemalloc.start()
    with pytest.raises(JSONFormError, match="values"):
        parse(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
