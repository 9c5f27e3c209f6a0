"""The safetensors header, checked without loading a tensor.

Owns the structural promise of a payload: every tensor lies inside the data, none overlaps
another, nothing lies between or behind them, and every size is its shape times its dtype.
Refuses anything else, pickles and zip archives first of all. Never copies tensor data.
Format: https://huggingface.co/docs/safetensors (8-byte little-endian header length, JSON, data).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from tensafe.errors import VerificationError
from tensafe.tgsp.canonical import parse

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_DIMENSIONS = 16
# What readers count with; an empty tensor could otherwise claim sides that overflow there.
_MAX_BITS = 2**63
_DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_FOREIGN_STARTS = (
    (b"PK\x03\x04", "a zip archive, as PyTorch's .pt and .bin files are"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"GGUF", "a GGUF file"),
)


class PayloadError(VerificationError):
    """The payload is not well-formed safetensors: the message names the tensor and the fault."""


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies: `begin` and `end` are byte offsets from the start of the payload."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """All tensors in the order of their data, and the file's string-to-string metadata."""

    tensors: tuple[TensorEntry, ...]
    metadata: dict[str, str]


def read_header(payload: bytes | memoryview) -> SafetensorsHeader:
    """Check the structure of a safetensors payload and say where its tensors lie.

    Raises:
        PayloadError: any rule of the module docstring is broken.
        JSONFormError: the header is not strict JSON (for one, a duplicate tensor name).
    """
    size = len(payload)
    if size < 8:
        raise PayloadError(f"payload of {size} bytes is too short for safetensors")
    header_size = int.from_bytes(payload[:8], "little")
    if header_size > min(size - 8, MAX_HEADER_BYTES):
        start = bytes(payload[:8])
        for prefix, what in _FOREIGN_STARTS:
            if start.startswith(prefix):
                raise PayloadError(f"payload is {what}, not safetensors: refused unread")
        raise PayloadError(
            f"safetensors header declares {header_size} bytes, but {size - 8} follow "
            f"and at most {MAX_HEADER_BYTES} are accepted"
        )
    text = bytes(payload[8 : 8 + header_size])
    if not text.startswith(b"{"):
        raise PayloadError("safetensors header does not start with an object")
    document = parse(text, max_bytes=MAX_HEADER_BYTES)
    metadata = _metadata(document.pop("__metadata__", {}))
    data_start = 8 + header_size
    tensors = [_entry(name, value, data_start) for name, value in document.items()]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    _require_exact_cover(tensors, data_start, size)
    return SafetensorsHeader(tuple(tensors), metadata)


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise PayloadError("safetensors __metadata__ is not an object")
    for key, text in cast("dict[str, object]", value).items():
        if not isinstance(text, str):
            raise PayloadError(f"safetensors __metadata__ {key[:80]!r} is not text")
    return cast("dict[str, str]", value)


def _entry(name: str, value: object, data_start: int) -> TensorEntry:
    shown = repr(name[:120])
    if not isinstance(value, dict):
        raise PayloadError(f"tensor {shown}: expected an object")
    fields = cast("dict[str, object]", value)
    if set(fields) != {"dtype", "shape", "data_offsets"}:
        raise PayloadError(f"tensor {shown}: expected exactly dtype, shape and data_offsets")
    dtype = fields["dtype"]
    if not isinstance(dtype, str) or dtype not in _DTYPE_BITS:
        raise PayloadError(f"tensor {shown}: unknown dtype {str(dtype)[:40]!r}")
    shape = _whole_numbers(fields["shape"], f"tensor {shown}: shape")
    offsets = _whole_numbers(fields["data_offsets"], f"tensor {shown}: data_offsets")
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise PayloadError(f"tensor {shown}: bad shape or offsets")
    if math.prod(max(1, side) for side in shape) * _DTYPE_BITS[dtype] > _MAX_BITS:
        raise PayloadError(f"tensor {shown}: shape has sides that no tensor can have")
    bits = math.prod(shape) * _DTYPE_BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise PayloadError(
            f"tensor {shown}: shape {list(shape)} in {dtype} needs {bits / 8:g} bytes, "
            f"offsets give {offsets[1] - offsets[0]}"
        )
    return TensorEntry(name, dtype, shape, data_start + offsets[0], data_start + offsets[1])


def _whole_numbers(value: object, what: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise PayloadError(f"{what} is not a list")
    numbers: list[int] = []
    for item in cast("list[object]", value):
        if type(item) is not int or item < 0:
            raise PayloadError(f"{what} holds something other than whole numbers")
        numbers.append(item)
    return tuple(numbers)


def _require_exact_cover(tensors: list[TensorEntry], data_start: int, size: int) -> None:
    position = data_start
    for tensor in tensors:
        if tensor.end > size:
            raise PayloadError(f"tensor {tensor.name[:120]!r} reaches beyond the payload")
        if tensor.begin < position:
            raise PayloadError(f"tensor {tensor.name[:120]!r} overlaps the one before it")
        if tensor.begin > position:
            raise PayloadError(f"{tensor.begin - position} bytes before {tensor.name[:120]!r}")
        position = tensor.end
    if position != size:
        raise PayloadError(f"{size - position} bytes after the last tensor belong to none")
