"""Mutated packages: typed errors only, and nothing changed is accepted (a sample; evidence has
the million)."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_package import adapter

from tensafe.errors import VerificationError
from tensafe.tgsp.canonical import canonical_json, parse_two_forms, reference_json
from tensafe.tgsp.reader import MAGIC, split_package
from tensafe.tgsp.safetensors_header import PayloadError, read_header

LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text()
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_are_a_package_or_a_typed_error(tail: bytes) -> None:
    for data in (tail, MAGIC + tail, MAGIC + len(tail).to_bytes(4, "little") + tail):
        try:
            package = split_package(data)
            package.manifest()
        except VerificationError:
            continue
        raise AssertionError("no manifest is this short")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(), TREES, max_size=5), st.booleans(), st.booleans())
def test_json_is_accepted_in_its_two_forms_alone(
    document: dict[str, Any], sort_keys: bool, indent: bool
) -> None:
    text = json.dumps(document, sort_keys=sort_keys, indent=2 if indent else None)
    data = text.encode("utf-8", "surrogatepass")
    try:
        value = parse_two_forms(data)
    except VerificationError:
        return
    assert data in (canonical_json(value), reference_json(value))
    assert canonical_json(json.loads(data)) == canonical_json(value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_changed_header_is_refused_or_covers_the_payload_exactly(seed: int) -> None:
    generator = random.Random(seed)
    data = bytearray(adapter())
    size = int.from_bytes(data[:8], "little")
    for _ in range(generator.randint(1, 3)):
        data[generator.randrange(8 + size)] ^= 1 << generator.randrange(8)
    try:
        tensors = read_header(bytes(data)).tensors
    except VerificationError:
        return
    assert tensors[-1].end == len(data)
    assert all(one.end == two.begin for one, two in itertools.pairwise(tensors))


@pytest.mark.parametrize("shape", [[2**63, 4, 0], [0, 2**64 - 1, 2**64 - 1]])
def test_an_empty_tensor_can_not_claim_sides_that_overflow(shape: list[int]) -> None:
    # Found by fuzzing: the safetensors library refuses the first, and takes the second, whose 0
    # comes before the product overflows.
    text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    data = len(text).to_bytes(8, "little") + text
    if shape[0]:
        with pytest.raises(safetensors.SafetensorError):
            safetensors.deserialize(data)
    with pytest.raises(PayloadError, match="no tensor can have"):
        read_header(data)
