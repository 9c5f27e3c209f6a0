"""Protobuf and JSON codecs against the SDK's own converters, with arbitrary data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tinker import types
from tinker.proto import tinker_public_pb2 as public_pb
from tinker.proto.request_conv import forward_backward_request_to_proto
from tinker.proto.response_conv import (
    deserialize_forward_backward_output,
    deserialize_sample_response,
)

from tinker_engine.errors import RequestError
from tinker_engine.protocol.losses import training_data
from tinker_engine.protocol.results import loss_to_json, loss_to_proto, sample_to_proto
from tinker_engine.protocol.tensors import TensorBody, tensor_from_json, tensor_from_proto
from tinker_engine.protocol.training import read_json_call, read_proto_call
from tinker_engine.runtime.records import LossOutput, SampledSequence, SampleResult

token = st.integers(0, 999)
sequence = st.lists(token, min_size=1, max_size=12)
value = st.floats(-1e6, 1e6, width=32)


def sdk_datum(tokens: list[int]) -> types.Datum:
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens),
        loss_fn_inputs={
            "target_tokens": types.TensorData(data=tokens, dtype="int64", shape=[len(tokens)]),
            "weights": types.TensorData(
                data=[0.5] * len(tokens), dtype="float32", shape=[len(tokens)]
            ),
        },
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(sequence, min_size=1, max_size=4))
def test_what_the_sdk_writes_is_read(sequences: list[list[int]]) -> None:
    request = types.ForwardBackwardRequest(
        forward_backward_input=types.ForwardBackwardInput(
            data=[sdk_datum(s) for s in sequences], loss_fn="cross_entropy"
        ),
        model_id="abc:train:0",
        seq_id=3,
    )
    body = forward_backward_request_to_proto(request).SerializeToString()
    call = read_proto_call(body, forward_only=False)
    assert (call.model_id, call.seq_id, call.loss_fn) == ("abc:train:0", 3, "cross_entropy")
    assert call.digest == read_proto_call(body, forward_only=False).digest
    assert call.digest != read_proto_call(body, forward_only=True).digest
    data = training_data(call.read_data(), "cross_entropy", {}, vocab_size=1000, max_context=64)
    for datum, tokens in zip(data, sequences, strict=True):
        assert datum.tokens.tolist() == datum.targets.tolist() == tokens
        assert datum.weights.tolist() == [0.5] * len(tokens)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        call = read_proto_call(body, forward_only=False)
        training_data(call.read_data(), "cross_entropy", {}, vocab_size=10, max_context=8)
    except RequestError:
        pass


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(value, min_size=0, max_size=6), min_size=1, max_size=4))
def test_what_we_write_the_sdk_reads(rows: list[list[float]]) -> None:
    arrays = [np.asarray(row, dtype=np.float32) for row in rows]
    output = LossOutput(arrays, [-a for a in arrays], 1.5, {"odd:name:x": 2.0, "plain": 3.0})
    read = deserialize_forward_backward_output(loss_to_proto(output))
    assert read.metrics == {"odd_name_x:mean": 2.0, "plain:mean": 3.0, "loss:sum": 1.5}
    for datum, array in zip(read.loss_fn_outputs, arrays, strict=True):
        np.testing.assert_array_equal(datum["logprobs"].to_numpy(), array)
        np.testing.assert_array_equal(datum["elementwise_loss"].to_numpy(), -array)
    assert len(loss_to_json(output)["loss_fn_outputs"]) == len(rows)


def test_sample_with_all_parts() -> None:
    result = SampleResult(
        [SampledSequence([1, 2], [-0.5, -1.0], "stop"), SampledSequence([], [], "length")],
        [None, -0.25],
        [None, [(7, -0.25), (8, -2.0)]],
    )
    read = deserialize_sample_response(sample_to_proto(result))
    assert read.sequences[0].tokens == [1, 2]
    assert read.sequences[0].stop_reason == "stop"
    assert read.sequences[1].tokens == []
    assert read.prompt_logprobs == [None, -0.25]
    assert read.topk_prompt_logprobs == [None, [(7, -0.25), (8, -2.0)]]


def test_sparse_tensors_become_dense() -> None:
    dense = np.array([[0, 2, 0], [0, 0, 0], [3, 0, 4]], dtype=np.float32)
    body = TensorBody(
        data=[2.0, 3.0, 4.0],
        dtype="float32",
        shape=[3, 3],
        sparse_crow_indices=[0, 1, 1, 3],
        sparse_col_indices=[1, 0, 2],
    )
    np.testing.assert_array_equal(tensor_from_json(body, "w"), dense)
    message = public_pb.Tensor(dtype=public_pb.DTYPE_FLOAT32, shape=[3, 3])
    message.sparse_csr.values = np.array([2, 3, 4], dtype=np.float32).tobytes()
    message.sparse_csr.crow_indices = np.array([0, 1, 1, 3], dtype=np.int64).tobytes()
    message.sparse_csr.col_indices = np.array([1, 0, 2], dtype=np.int64).tobytes()
    np.testing.assert_array_equal(tensor_from_proto(message, "w"), dense)


@pytest.mark.parametrize(
    "change",
    [
        {"sparse_crow_indices": [0, 1, 1, 9]},
        {"sparse_crow_indices": [0, 2, 1, 3]},
        {"sparse_col_indices": [1, 0, 3]},
        {"sparse_col_indices": [1, 0]},
        {"sparse_col_indices": [1, 0, 2**70]},
        {"shape": [3]},
        {"shape": [1 << 20, 1 << 20]},
    ],
)
def test_unsound_sparse_tensors_are_refused(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "data": [2.0, 3.0, 4.0],
        "dtype": "float32",
        "shape": [3, 3],
        "sparse_crow_indices": [0, 1, 1, 3],
        "sparse_col_indices": [1, 0, 2],
    }
    with pytest.raises(RequestError, match="w: "):
        tensor_from_json(TensorBody.model_validate({**good, **change}), "w")


def test_bfloat16_widens() -> None:
    raw = (np.array([1.5, -2.0], dtype=np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    message = public_pb.Tensor(dtype=public_pb.DTYPE_BFLOAT16, dense=raw)
    assert tensor_from_proto(message, "w").tolist() == [1.5, -2.0]


def test_json_call_of_both_routes() -> None:
    body = b'{"forward_input": {"data": [], "loss_fn": "ppo"}, "model_id": "m", "seq_id": 1}'
    call = read_json_call(body, forward_only=True)
    assert (call.loss_fn, call.is_forward_only) == ("ppo", True)


def test_unweighted_filler_targets_are_allowed() -> None:
    from tinker_engine.protocol.training import RawDatum

    raw = RawDatum(
        np.array([1, 2]),
        {"target_tokens": np.array([-100, 3]), "weights": np.array([0.0, 1.0])},
    )
    datum = training_data([raw], "cross_entropy", {}, vocab_size=5, max_context=4)[0]
    assert datum.targets.tolist() == [0, 3]
