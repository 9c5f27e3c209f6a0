"""Outcomes of training requests as log records, and back: a repeated answer is the same one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinker_engine.runtime.futures import Dropped, Failure, Outcome
from tinker_engine.runtime.records import FloatArray, LossOutput


def write_outcome(outcome: Outcome) -> tuple[dict[str, Any], bytes]:
    """Header fields and bytes of an outcome."""
    match outcome:
        case Failure():
            return {"failure": [outcome.message, outcome.category]}, b""
        case LossOutput():
            arrays = [*outcome.logprobs, *outcome.elementwise_loss]
            facts = {
                "shapes": [list(array.shape) for array in outcome.logprobs],
                "loss_sum": outcome.loss_sum,
                "metrics": outcome.metrics,
            }
            return {"loss": facts}, b"".join(_bytes(array) for array in arrays)
        case dict():
            return {"result": outcome}, b""
        case _:
            return {"dropped": True}, b""


def read_outcome(header: Mapping[str, Any], blob: bytes) -> Outcome:
    """The inverse of `write_outcome`."""
    if "failure" in header:
        return Failure(*header["failure"])
    if "loss" in header:
        facts: Mapping[str, Any] = header["loss"]
        shapes: Sequence[Sequence[int]] = facts["shapes"]
        values = np.frombuffer(blob, dtype="<f4")
        sizes = [int(np.prod(shape)) for shape in shapes] * 2
        parts = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
        arrays: list[FloatArray] = [
            part.reshape(shape).astype(np.float32)
            for part, shape in zip(parts, [*shapes, *shapes], strict=True)
        ]
        half = len(shapes)
        return LossOutput(arrays[:half], arrays[half:], facts["loss_sum"], dict(facts["metrics"]))
    if "result" in header:
        return dict(header["result"])
    return Dropped()


def _bytes(array: FloatArray) -> bytes:
    return np.ascontiguousarray(array, dtype="<f4").tobytes()
