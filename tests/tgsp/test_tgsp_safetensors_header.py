"""The safetensors header: what is accepted, and every way to be refused."""

from __future__ import annotations

import json
import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save
from sample_package import adapter

from tensafe.errors import VerificationError
from tensafe.tgsp.safetensors_header import PayloadError, read_header


def payload(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(begin: int, end: int, shape: list[Any], dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_entries_name_the_bytes_of_their_tensors() -> None:
    data = adapter()
    header = read_header(data)
    assert header.metadata == {"format": "pt"}
    for entry in header.tensors:
        array = np.frombuffer(data[entry.begin : entry.end], np.float32).reshape(entry.shape)
        assert (array == load(data)[entry.name]).all()


def test_real_adapters_are_accepted(shared_data: Path) -> None:
    for path in sorted((shared_data / "adapters").glob("*/adapter_model.safetensors")):
        data = path.read_bytes()
        assert {t.name for t in read_header(data).tensors} == set(load(data))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint64, np.bool_])
def test_sizes_agree_with_the_safetensors_library(dtype: type) -> None:
    array = np.zeros((3, 5), dtype)
    assert read_header(save({"a": array})).tensors[0].shape == (3, 5)


def test_empty_and_scalar_tensors_are_accepted() -> None:
    header = read_header(save({"a": np.zeros((0, 4), np.float32), "b": np.ones((), np.float32)}))
    assert {t.name: t.end - t.begin for t in header.tensors} == {"a": 0, "b": 4}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "too short"),
        (b"\0" * 8, "start with an object"),
        ((2**63).to_bytes(8, "little") + b"{}", "declares"),
        ((3).to_bytes(8, "little") + b"{}", "declares"),
        (payload(b"[]"), "start with an object"),
        (payload(b'{"a":1}'), "expected an object"),
        (payload(b'{"a":{"dtype":"U8"}}'), "exactly"),
        (payload({"a": {**tensor(0, 1, [1]), "x": 1}}, b"1"), "exactly"),
        (payload({"a": tensor(0, 1, [1], "Q8")}, b"1"), "dtype"),
        (payload({"a": tensor(0, 1, [2])}, b"1"), "needs 2 bytes"),
        (payload({"a": tensor(0, 1, [-1])}, b"1"), "whole numbers"),
        (payload({"a": tensor(0, 1, [True])}, b"1"), "whole numbers"),
        (payload({"a": tensor(0, 1, [1.0])}, b"1"), "whole numbers"),
        (payload({"a": tensor(1, 0, [1])}, b"1"), "bad shape or offsets"),
        (payload({"a": tensor(0, 1, [1] * 17)}, b"1"), "bad shape or offsets"),
        (payload({"a": tensor(0, 1, [1, 1], "F4")}, b"1"), "needs 0.5 bytes"),
        (payload({"a": tensor(0, 9, [9])}, b"1"), "beyond"),
        (payload({"a": tensor(0, 2, [2]), "b": tensor(1, 3, [2])}, b"123"), "overlaps"),
        (payload({"a": tensor(0, 1, [1]), "b": tensor(2, 3, [1])}, b"123"), "1 bytes before"),
        (payload({"a": tensor(0, 1, [1])}, b"12"), "1 bytes after"),
        (payload({"__metadata__": {"a": 1}}), "not text"),
        (payload({"__metadata__": []}), "not an object"),
        (payload(b'{"a":{},"a":{}}'), "twice"),
        (payload({"a": tensor(0, 2**62, [2**31, 2**31])}), "no tensor can have"),
    ],
)
def test_refusals_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        read_header(data)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_named_and_refused(protocol: int) -> None:
    with pytest.raises(PayloadError, match="pickle"):
        read_header(pickle.dumps({"weights": list(range(100))}, protocol))


def test_torch_archives_are_named_and_refused() -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 100)
    with pytest.raises(PayloadError, match="zip"):
        read_header(buffer.getvalue())


@given(st.binary(max_size=300))
def test_any_bytes_give_a_header_or_a_typed_error(data: bytes) -> None:
    try:
        read_header(data)
    except VerificationError:
        return


@given(st.data())
def test_damaged_headers_never_name_bytes_outside(data: st.DataObject) -> None:
    changed = bytearray(adapter())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    try:
        header = read_header(bytes(changed))
    except VerificationError:
        return
    assert all(0 <= t.begin <= t.end <= len(changed) for t in header.tensors)
