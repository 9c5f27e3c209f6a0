"""Tensors on the wire, as JSON objects and as protobuf messages, to and from numpy.

Only what training needs is read: dense float32 and int64 tensors. Sparse (CSR) tensors become
dense here, so that nothing behind the wire sees the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tinker_engine.errors import RequestError
from tinker_engine.protocol.requests import Wire
from tinker_engine.runtime.records import CsrLayout

Array = npt.NDArray[Any]
MAX_ELEMENTS = 1 << 27

# DType of the public protobuf schema: float32, int64, int32, bfloat16.
_PROTO_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<i8"),
    3: np.dtype("<i4"),
    4: np.dtype("<u2"),
}
_PROTO_FLOAT32, _PROTO_INT64, _BFLOAT16 = 1, 2, 4
_JSON_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("f4"), "int64": np.dtype("i8")}


class TensorBody(Wire):
    """A tensor as JSON: flat values, dtype, shape, and CSR indices when it is sparse."""

    data: list[float] | list[int]
    dtype: Literal["float32", "int64"]
    shape: list[Annotated[int, Field(ge=0)]] | None = None
    sparse_crow_indices: list[int] | None = None
    sparse_col_indices: list[int] | None = None


def tensor_from_json(body: TensorBody, name: str, pad: int = 0) -> Array:
    """Dense array of a JSON tensor, with `pad` in the cells that a sparse one leaves out.

    Raises RequestError naming the field when sizes disagree.
    """
    try:
        values = np.asarray(body.data, dtype=_JSON_DTYPES[body.dtype])
    except (ValueError, OverflowError) as error:
        raise RequestError(f"{name}: values do not fit {body.dtype}") from error
    if body.sparse_crow_indices is None:
        return _shaped(values, body.shape if body.shape is not None else [values.size], name)
    return _dense(
        values,
        _indices(body.sparse_crow_indices, name),
        _indices(body.sparse_col_indices or [], name),
        body.shape,
        name,
        pad,
    )


def tensor_from_proto(message: Any, name: str) -> Array:
    """Dense array of a protobuf `Tensor`; int32 widens to int64 and bfloat16 to float32."""
    shape = [int(n) for n in message.shape] or None
    if message.HasField("sparse_csr"):
        csr = message.sparse_csr
        return _dense(
            _values(csr.values, message.dtype, name),
            _frombuffer(csr.crow_indices, np.dtype("<i8"), name),
            _frombuffer(csr.col_indices, np.dtype("<i8"), name),
            shape,
            name,
        )
    values = _values(message.dense, message.dtype, name)
    return _shaped(values, shape if shape is not None else [values.size], name)


def layout_from_json(body: TensorBody) -> CsrLayout | None:
    """The cells that a JSON tensor lists; None for a dense one."""
    if body.sparse_crow_indices is None:
        return None
    return CsrLayout(
        _indices(body.sparse_crow_indices, "sparse tensor"),
        _indices(body.sparse_col_indices or [], "sparse tensor"),
    )


def tensor_in_layout(array: Array, layout: CsrLayout | None) -> dict[str, Any]:
    """The JSON form of an array (rows, columns), sparse in the cells that `layout` lists."""
    body = tensor_to_json(array)
    if layout is None:
        return body
    rows = np.repeat(np.arange(array.shape[0]), np.diff(layout.crow))
    return {
        **body,
        "data": array[rows, layout.col].tolist(),
        "sparse_crow_indices": layout.crow.tolist(),
        "sparse_col_indices": layout.col.tolist(),
    }


def tensor_to_proto(message: Any, body: Mapping[str, Any]) -> None:
    """Write a tensor's JSON form into a protobuf `Tensor`."""
    is_float = body["dtype"] == "float32"
    message.dtype = _PROTO_FLOAT32 if is_float else _PROTO_INT64
    message.shape.extend(body["shape"])
    raw = np.asarray(body["data"], dtype="<f4" if is_float else "<i8").tobytes()
    if "sparse_crow_indices" not in body:
        message.dense = raw
        return
    csr = message.sparse_csr
    csr.values = raw
    csr.crow_indices = np.asarray(body["sparse_crow_indices"], dtype="<i8").tobytes()
    csr.col_indices = np.asarray(body["sparse_col_indices"], dtype="<i8").tobytes()


def tensor_to_json(array: Array) -> dict[str, Any]:
    """The JSON form of a float32 or int64 array."""
    dtype = "float32" if array.dtype.kind == "f" else "int64"
    return {"data": array.ravel().tolist(), "dtype": dtype, "shape": list(array.shape)}


def _frombuffer(raw: bytes, dtype: np.dtype[Any], name: str) -> Array:
    if len(raw) % dtype.itemsize:
        raise RequestError(f"{name}: {len(raw)} bytes are not a whole number of {dtype.name}")
    return np.frombuffer(raw, dtype=dtype)


def _values(raw: bytes, code: int, name: str) -> Array:
    dtype = _PROTO_DTYPES.get(code)
    if dtype is None:
        raise RequestError(f"{name}: tensor dtype {code} is unknown; send float32 or int64")
    array = _frombuffer(raw, dtype, name)
    if code == _BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.int64) if dtype.kind == "i" else array.astype(np.float32)


def _shaped(values: Array, shape: list[int], name: str) -> Array:
    if int(np.prod(shape, dtype=object)) != values.size:
        raise RequestError(f"{name}: shape {shape} does not hold {values.size} values")
    return values.reshape(shape)


def _indices(values: list[int], name: str) -> npt.NDArray[np.int64]:
    try:
        return np.asarray(values, dtype=np.int64)
    except OverflowError as error:
        raise RequestError(f"{name}: an index does not fit 64 bits") from error


def _dense(
    values: Array, crow: Array, col: Array, shape: list[int] | None, name: str, pad: int = 0
) -> Array:
    if shape is None or len(shape) != 2:
        raise RequestError(f"{name}: a sparse tensor needs a two-dimensional shape")
    rows, columns = shape
    if rows * columns > MAX_ELEMENTS:
        raise RequestError(f"{name}: {rows} x {columns} values are more than {MAX_ELEMENTS}")
    counts = np.diff(crow)
    is_sound = (
        crow.size == rows + 1
        and crow[0] == 0
        and crow[-1] == values.size == col.size
        and bool((counts >= 0).all())
        and (col.size == 0 or (int(col.min()) >= 0 and int(col.max()) < columns))
    )
    if not is_sound:
        raise RequestError(f"{name}: the CSR indices do not fit shape {shape}")
    dense = np.full((rows, columns), pad, dtype=values.dtype)
    dense[np.repeat(np.arange(rows), counts), col] = values
    return dense
