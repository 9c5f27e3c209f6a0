"""The body of `forward` and `forward_backward`, from JSON or protobuf to training data.

Reading happens in two steps: first the envelope (which run, which place in its order), then the
data. A request whose data are wrong still uses up its place, so that later ones are not left
waiting for it.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from tinker_engine.errors import RequestError
from tinker_engine.protocol.requests import ModelInputBody, SequenceId, Wire
from tinker_engine.protocol.tensors import Array, TensorBody, tensor_from_json, tensor_from_proto
from tinker_engine.runtime.memory import check_memory
from tinker_engine.runtime.records import IntArray

# Bytes of a value of a dense tensor: fp32.
_LEAST_BYTES = 4


@dataclass(frozen=True)
class RawDatum:
    """One datum as it came: token ids of shape (T,) and the named loss inputs."""

    tokens: IntArray
    inputs: Mapping[str, Array]


@dataclass(frozen=True)
class TrainingCall:
    """A parsed envelope; `read_data` parses the rest and may raise RequestError.

    `digest` is over the content, not over the bytes: a retry may write its maps in another order.
    `body` is what was read, so that it can be read again.
    """

    model_id: str
    seq_id: int | None
    loss_fn: str
    loss_config: Mapping[str, Any]
    is_forward_only: bool
    digest: str
    read_data: Callable[[], list[RawDatum]]
    body: bytes
    is_proto: bool


class _DatumBody(Wire):
    model_input: ModelInputBody
    loss_fn_inputs: dict[str, TensorBody]


class _InputBody(Wire):
    data: list[Any]
    loss_fn: str
    loss_fn_config: dict[str, Any] | None = None


class ForwardBackwardBody(Wire):
    """`forward_backward`; the data are parsed apart."""

    forward_backward_input: _InputBody
    model_id: str
    seq_id: SequenceId | None = None


class ForwardBody(Wire):
    """`forward`."""

    forward_input: _InputBody = Field()
    model_id: str
    seq_id: SequenceId | None = None


def read_json_call(body: bytes, *, forward_only: bool) -> TrainingCall:
    """Envelope of a JSON body; `forward` and `forward_backward` name their input differently.

    Raises pydantic's ValidationError, which the server answers as 400 with the places at fault.
    """
    if forward_only:
        parsed = ForwardBody.model_validate_json(body)
        given = parsed.forward_input
    else:
        parsed = ForwardBackwardBody.model_validate_json(body)
        given = parsed.forward_backward_input
    return TrainingCall(
        model_id=parsed.model_id,
        seq_id=parsed.seq_id,
        loss_fn=given.loss_fn,
        loss_config=given.loss_fn_config or {},
        is_forward_only=forward_only,
        digest=_digest(parsed.model_dump_json().encode(), forward_only=forward_only),
        read_data=functools.partial(_json_data, given.data),
        body=body,
        is_proto=False,
    )


def read_proto_call(body: bytes, *, forward_only: bool) -> TrainingCall:
    """Envelope of a protobuf body (what SDKs from 0.25 on send)."""
    from google.protobuf.message import DecodeError
    from tinker.proto import tinker_public_pb2 as public_pb

    message: Any = public_pb.ForwardBackwardRequest()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise RequestError("the body is not a protobuf ForwardBackwardRequest") from error
    config: dict[str, Any] = dict(message.loss_fn_config)
    for key, value in message.loss_fn_config_v2.items():
        config[key] = value.text if value.WhichOneof("value") == "text" else value.number
    return TrainingCall(
        model_id=message.model_id,
        # The schema has no "absent" here: the SDK counts from 1 and sends 0 for None.
        seq_id=int(message.seq_id) or None,
        loss_fn=message.loss_fn,
        loss_config=config,
        is_forward_only=forward_only or bool(message.forward_only),
        digest=_digest(message.SerializeToString(deterministic=True), forward_only=forward_only),
        read_data=functools.partial(_proto_data, message),
        body=body,
        is_proto=True,
    )


def check_tokens(tokens: Array, vocab_size: int, place: str) -> None:
    """Raise RequestError unless all ids are in [0, vocab_size)."""
    if tokens.size and (int(tokens.min()) < 0 or int(tokens.max()) >= vocab_size):
        wrong = tokens[(tokens < 0) | (tokens >= vocab_size)][0]
        raise RequestError(f"{place} hold {int(wrong)}; expected ids from 0 to {vocab_size - 1}")


def prompt_tokens(prompt: ModelInputBody, place: str) -> IntArray:
    """Token ids (T,) of a prompt; raises RequestError for chunks that are not text."""
    parts: list[int] = []
    for i, chunk in enumerate(prompt.chunks):
        if chunk.type != "encoded_text":
            raise RequestError(
                f"{place}: chunk {i} is {chunk.type!r}; this server takes encoded_text only"
            )
        parts.extend(chunk.tokens)
    try:
        return np.asarray(parts, dtype=np.int64)
    except OverflowError as error:
        raise RequestError(f"{place}: a token id does not fit 64 bits") from error


def _digest(content: bytes, *, forward_only: bool) -> str:
    return hashlib.sha256(b"forward\0" * forward_only + content).hexdigest()


def _json_data(items: list[Any]) -> list[RawDatum]:
    bodies: list[_DatumBody] = []
    for i, item in enumerate(items):
        try:
            bodies.append(_DatumBody.model_validate(item))
        except ValidationError as error:
            raise RequestError(f"data[{i}]: {first_problem(error)}") from error
    _check_sparse(
        tensor.shape or ()
        for body in bodies
        for tensor in body.loss_fn_inputs.values()
        if tensor.sparse_crow_indices is not None
    )
    data: list[RawDatum] = []
    for i, datum in enumerate(bodies):
        inputs = {
            name: tensor_from_json(tensor, f"data[{i}]: {name}")
            for name, tensor in datum.loss_fn_inputs.items()
        }
        data.append(RawDatum(prompt_tokens(datum.model_input, f"data[{i}]"), inputs))
    return data


def _check_sparse(shapes: Iterable[Sequence[int]]) -> None:
    """Sparse tensors become dense: a small request may be a large one. Before any of them does."""
    check_memory(sum(math.prod(shape) for shape in shapes) * _LEAST_BYTES)


def _proto_data(message: Any) -> list[RawDatum]:
    _check_sparse(
        tensor.shape
        for datum in message.data
        for tensor in datum.loss_fn_inputs.values()
        if tensor.HasField("sparse_csr")
    )
    data: list[RawDatum] = []
    for i, datum in enumerate(message.data):
        chunks: list[Array] = []
        for chunk in datum.model_input:
            if not chunk.HasField("encoded_text"):
                raise RequestError(f"data[{i}]: this server takes encoded_text chunks only")
            raw: bytes = chunk.encoded_text.tokens
            if len(raw) % 4:
                raise RequestError(f"data[{i}]: token bytes are not a whole number of int32")
            chunks.append(np.frombuffer(raw, dtype="<i4"))
        tokens = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int32)
        inputs = {
            name: tensor_from_proto(tensor, f"data[{i}]: {name}")
            for name, tensor in datum.loss_fn_inputs.items()
        }
        data.append(RawDatum(tokens.astype(np.int64), inputs))
    return data


def first_problem(error: ValidationError) -> str:
    """The first problem of a validation error as `place: what is wrong`."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else problem["msg"]
