"""Results of training and sampling, from internal records to protobuf or JSON.

The SDK asks for protobuf (`Accept: application/x-protobuf`) for these two; everything else is
small JSON.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinker_engine.protocol.tensors import tensor_in_layout, tensor_to_json, tensor_to_proto
from tinker_engine.runtime.records import FloatArray, LossOutput, SampledSequence, SampleResult

PROTOBUF = "application/x-protobuf"
_OUTPUT_TYPE = "ArrayRecord"
# What the schema prescribes for cells without a value.
_EMPTY_TOKEN, _EMPTY_LOGPROB = 0, -99999.0


def loss_metrics(output: LossOutput) -> dict[str, float]:
    """Metrics with the reduction in the name, which the SDK needs to merge split requests."""
    metrics = {
        name if name.count(":") == 1 else f"{name.replace(':', '_')}:mean": float(value)
        for name, value in output.metrics.items()
    }
    metrics["loss:sum"] = output.loss_sum
    return metrics


def loss_to_proto(output: LossOutput) -> bytes:
    """A serialized `ForwardBackwardOutput`."""
    from tinker.proto import tinker_public_pb2 as public_pb

    message: Any = public_pb.ForwardBackwardOutput()
    message.loss_fn_output_type = _OUTPUT_TYPE
    fields = _loss_fields(output)
    # One record holds data with the same number of targets per position.
    trailing = [array.shape[1:] for array in output.logprobs]
    for shape, run in itertools.groupby(range(len(trailing)), key=trailing.__getitem__):
        places = list(run)
        record = message.loss_fn_outputs.add()
        record.type_tag = _OUTPUT_TYPE
        record.num_datums = len(places)
        for name, arrays in fields.items():
            field = record.fields[name]
            field.dtype = public_pb.DTYPE_FLOAT32
            field.trailing_shape.extend(shape)
            sizes = [0, *(arrays[i].nbytes for i in places)]
            field.offsets = np.cumsum(sizes, dtype=np.int64).tobytes()
            field.data = b"".join(arrays[i].tobytes() for i in places)
    for name, value in loss_metrics(output).items():
        message.metrics[name] = value
    return message.SerializeToString()


def loss_to_json(output: LossOutput) -> dict[str, Any]:
    """The JSON form of a `ForwardBackwardOutput`."""
    fields = _loss_fields(output)
    return {
        "loss_fn_output_type": _OUTPUT_TYPE,
        "loss_fn_outputs": [
            {name: tensor_to_json(arrays[i]) for name, arrays in fields.items()}
            for i in range(len(output.logprobs))
        ],
        "metrics": loss_metrics(output),
    }


def loss_size(output: LossOutput) -> int:
    """Bytes that the arrays of a result take."""
    return sum(a.nbytes for a in (*output.logprobs, *output.elementwise_loss))


def sample_to_proto(result: SampleResult) -> bytes:
    """A serialized `SampleResponse`."""
    from tinker.proto import tinker_public_pb2 as public_pb

    message: Any = public_pb.SampleResponse()
    for sequence in result.sequences:
        part = message.sequences.add()
        part.stop_reason = (
            public_pb.STOP_REASON_STOP
            if sequence.stop_reason == "stop"
            else public_pb.STOP_REASON_LENGTH
        )
        part.tokens = np.asarray(sequence.tokens, dtype=np.int32).tobytes()
        part.logprobs = np.asarray(sequence.logprobs, dtype=np.float32).tobytes()
        if sequence.topk is not None:
            _write_topk(part.topk_sampled_logprobs, sequence.topk)
    if result.prompt_logprobs is not None:
        filled = [np.nan if value is None else value for value in result.prompt_logprobs]
        message.prompt_logprobs = np.asarray(filled, dtype=np.float32).tobytes()
    if result.topk_prompt_logprobs:
        _write_topk(message.topk_prompt_logprobs, result.topk_prompt_logprobs)
    for name, tensor in _prompt_tensors(result).items():
        place: Any = message
        for step in name.split("."):
            place = getattr(place, step)
        tensor_to_proto(place, tensor)
    return message.SerializeToString()


def sample_to_json(result: SampleResult) -> dict[str, Any]:
    """The JSON form of a `SampleResponse`."""
    body: dict[str, Any] = {
        "type": "sample",
        "sequences": [_sequence_to_json(sequence) for sequence in result.sequences],
        "prompt_logprobs": result.prompt_logprobs,
    }
    if result.topk_prompt_logprobs is not None:
        body["topk_prompt_logprobs"] = result.topk_prompt_logprobs
    for name, tensor in _prompt_tensors(result).items():
        first, _, rest = name.partition(".")
        if rest:
            body.setdefault(first, {})[rest] = tensor
        else:
            body[first] = tensor
    return body


def sample_size(result: SampleResult) -> int:
    """Rough bytes that a sampling result takes on the wire."""
    topk = sum(8 * len(row or ()) for row in result.topk_prompt_logprobs or ())
    topk += sum(8 * len(row or ()) for sequence in result.sequences for row in sequence.topk or ())
    sampled = sum(8 * len(sequence.tokens) for sequence in result.sequences)
    targets = 0 if result.prompt_targets is None else result.prompt_targets.nbytes
    drawn = result.prompt_alt_tokens
    others = 0 if drawn is None else drawn.tokens.nbytes + drawn.logprobs.nbytes
    return sampled + 4 * len(result.prompt_logprobs or ()) + topk + targets + others + 64


def only_last(result: SampleResult, last_n: int | None) -> SampleResult:
    """A result whose prompt logprobs cover only the last n tokens, as the client asked."""
    if last_n is None or result.prompt_logprobs is None:
        return result
    hidden = len(result.prompt_logprobs) - last_n
    logprobs = [None if i < hidden else v for i, v in enumerate(result.prompt_logprobs)]
    topk = result.topk_prompt_logprobs
    if topk is not None:
        topk = [None if i < hidden else row for i, row in enumerate(topk)]
    return dataclasses.replace(result, prompt_logprobs=logprobs, topk_prompt_logprobs=topk)


def _loss_fields(output: LossOutput) -> dict[str, list[FloatArray]]:
    return {
        "logprobs": [np.ascontiguousarray(a, dtype=np.float32) for a in output.logprobs],
        "elementwise_loss": [
            np.ascontiguousarray(a, dtype=np.float32) for a in output.elementwise_loss
        ],
    }


def _prompt_tensors(result: SampleResult) -> dict[str, dict[str, Any]]:
    """Tensors of a sampling result by their place in the answer."""
    tensors: dict[str, dict[str, Any]] = {}
    if result.prompt_targets is not None:
        tensors["target_prompt_logprobs"] = tensor_in_layout(
            result.prompt_targets, result.prompt_targets_layout
        )
    if result.prompt_alt_tokens is not None:
        tensors["prompt_alt_tokens.tokens"] = tensor_to_json(result.prompt_alt_tokens.tokens)
        tensors["prompt_alt_tokens.logprobs"] = tensor_to_json(result.prompt_alt_tokens.logprobs)
    return tensors


def _sequence_to_json(sequence: SampledSequence) -> dict[str, Any]:
    body: dict[str, Any] = {
        "stop_reason": sequence.stop_reason,
        "tokens": sequence.tokens,
        "logprobs": sequence.logprobs,
    }
    if sequence.topk is not None:
        body["topk_logprobs"] = sequence.topk
    return body


def _write_topk(message: Any, rows: Sequence[list[tuple[int, float]] | None]) -> None:
    width = max((len(row) for row in rows if row), default=0)
    tokens = np.full((len(rows), width), _EMPTY_TOKEN, dtype=np.int32)
    logprobs = np.full((len(rows), width), _EMPTY_LOGPROB, dtype=np.float32)
    for i, row in enumerate(rows):
        for j, (token, logprob) in enumerate(row or ()):
            tokens[i, j], logprobs[i, j] = token, logprob
    message.token_ids, message.logprobs = tokens.tobytes(), logprobs.tobytes()
    message.k, message.length = width, len(rows)
