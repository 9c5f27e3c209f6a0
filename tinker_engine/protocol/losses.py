"""Which losses a client may ask for, and turning the data of a request into training data.

Settings of a loss (`loss_fn_config`) end up beside the other per-token inputs of each datum, so
that nothing behind the wire needs to know whether they came for the request or for one token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from tinker_engine.errors import PrivacyPolicyError, RequestError
from tinker_engine.protocol.tensors import Array
from tinker_engine.protocol.training import RawDatum, check_tokens
from tinker_engine.runtime.losses import HIGH, LOSSES, LOW, LossSchema
from tinker_engine.runtime.records import FloatArray, LossName, TrainDatum

# Losses that SDKs know and this server does not compute, each with what to do instead.
_ELSEWHERE = {
    "stable_reinforce": "it needs records that hosted sampling keeps; use importance_sampling",
    "custom": "call forward_backward_custom with a loss that runs on the client",
}


def check_loss(name: str, config: Mapping[str, Any]) -> LossName:
    """Give the loss back if this server computes it with these settings.

    Raises RequestError that names the loss or the setting, and what is possible instead.
    """
    if name in _ELSEWHERE:
        raise RequestError(f"loss {name!r} is not computed by this server: {_ELSEWHERE[name]}")
    if name not in LOSSES:
        raise RequestError(f"unknown loss {name!r}; this server computes {', '.join(LOSSES)}")
    allowed = LOSSES[name].settings
    for key, value in config.items():
        if key not in allowed:
            expected = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise RequestError(f"{name} has no setting {key!r} in loss_fn_config; {expected}")
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise RequestError(f"loss_fn_config[{key!r}] is {value!r}; expected a number >= 0")
    return cast(LossName, name)


def check_private(loss: LossName, data: Sequence[TrainDatum]) -> None:
    """Refuse what would let one example's gradient depend on others in a private run.

    Weights below 0 come from a loss that the client computed over the whole batch: its gradients
    reach the engine as weights, and clipping each example would no longer bound one example's part.
    Raises PrivacyPolicyError.
    """
    if LOSSES[loss].couples_data:
        raise PrivacyPolicyError(f"loss {loss!r} couples data; a private run can't take it")
    for i, datum in enumerate(data):
        if loss == "cross_entropy" and bool((datum.weights < 0).any()):
            raise PrivacyPolicyError(
                f"data[{i}]: weights below 0 are refused in a private run, as a loss computed on "
                "the client (forward_backward_custom) may couple examples; use a loss of the server"
            )


def training_data(
    raw: Sequence[RawDatum],
    loss: LossName,
    config: Mapping[str, Any],
    *,
    vocab_size: int,
    max_context: int,
) -> list[TrainDatum]:
    """Check the data of a request and give them their final types.

    Raises RequestError that names the datum and the field.
    """
    if not raw:
        raise RequestError("the request holds no data")
    together = LOSSES[loss].together
    if len(raw) % together:
        raise RequestError(
            f"{loss} takes its data in groups of {together} that follow each other, but the "
            f"request holds {len(raw)}"
        )
    data: list[TrainDatum] = []
    for i, datum in enumerate(raw):
        place = f"data[{i}]"
        length = datum.tokens.size
        if not 1 <= length <= max_context:
            raise RequestError(
                f"{place}: {length} tokens; expected 1 to {max_context}, the context of this model"
            )
        check_tokens(datum.tokens, vocab_size, f"{place}: tokens")
        if loss == "cross_entropy":
            data.append(_cross_entropy_datum(datum, place, vocab_size))
        else:
            data.append(_policy_datum(datum, place, vocab_size, loss, config))
    if loss == "dpo":
        _check_pairs(data)
    return data


def _check_pairs(data: Sequence[TrainDatum]) -> None:
    """Refuse pairs in any other order than chosen, rejected: their loss would be another one."""
    for i, datum in enumerate(data):
        name, sign = ("rejected", -1) if i % 2 else ("chosen", 1)
        marks = sign * datum.inputs["advantages"]
        if bool((marks < 0).any()) or not bool((marks > 0).any()):
            raise RequestError(
                f"data[{i}]: advantages of a {name} answer must be {sign} on its tokens and 0 "
                "elsewhere; chosen and rejected answers follow each other, pair by pair"
            )


def _cross_entropy_datum(datum: RawDatum, place: str, vocab_size: int) -> TrainDatum:
    _refuse_others(datum, place, "cross_entropy", ("target_tokens", "weights"))
    targets = _targets(datum, place, vocab_size, dimensions=(1, 2))
    weights = datum.inputs.get("weights", np.ones(targets.shape, dtype=np.float32))
    weights = _floats(weights, f"{place}: weights", targets.shape)
    # A target that counts for nothing may be any filler, such as -100.
    targets = np.where(weights == 0, np.clip(targets, 0, vocab_size - 1), targets)
    check_tokens(targets, vocab_size, f"{place}: target_tokens")
    return _datum(datum, targets, weights, {})


def _policy_datum(
    datum: RawDatum, place: str, vocab_size: int, loss: LossName, config: Mapping[str, Any]
) -> TrainDatum:
    schema = LOSSES[loss]
    _refuse_others(datum, place, loss, ("target_tokens", *schema.inputs, *schema.settings))
    targets = _targets(datum, place, vocab_size, dimensions=(1,))
    inputs: dict[str, FloatArray] = {}
    for name in schema.inputs:
        if name not in datum.inputs:
            raise RequestError(f"{place}: {loss} needs {name} in loss_fn_inputs")
        inputs[name] = _floats(datum.inputs[name], f"{place}: {name}", targets.shape)
    for name in schema.settings:
        inputs[name] = _setting(datum, place, name, schema, config)
    if LOW in inputs and bool((inputs[LOW] > inputs[HIGH]).any()):
        raise RequestError(f"{place}: {LOW} is above {HIGH}; expected 0 <= low <= high")
    if "sequence_ratio_mask" in inputs and not inputs["sequence_ratio_mask"].any():
        raise RequestError(f"{place}: sequence_ratio_mask marks no token; mark the sampled ones")
    # Filler where nothing is learned, such as -100 over a prompt.
    ignored = inputs["advantages"] == 0
    targets = np.where(ignored, np.clip(targets, 0, vocab_size - 1), targets)
    check_tokens(targets, vocab_size, f"{place}: target_tokens")
    return _datum(datum, targets, np.zeros(targets.shape, dtype=np.float32), inputs)


def _setting(
    datum: RawDatum, place: str, name: str, schema: LossSchema, config: Mapping[str, Any]
) -> FloatArray:
    shape = datum.tokens.shape
    if name in datum.inputs:
        values = _floats(datum.inputs[name], f"{place}: {name}", shape)
        if bool((values < 0).any()):
            raise RequestError(f"{place}: {name} holds a value below 0")
        return values
    value = config.get(name, schema.settings[name])
    if value is None:
        raise RequestError(f"{name} is missing: give it in loss_fn_config")
    return np.full(shape, value, dtype=np.float32)


def _refuse_others(datum: RawDatum, place: str, loss: str, known: Sequence[str]) -> None:
    others = sorted(set(datum.inputs) - set(known))
    if others:
        raise RequestError(f"{place}: {loss} takes {', '.join(known)}, but got {', '.join(others)}")


def _targets(datum: RawDatum, place: str, vocab_size: int, *, dimensions: tuple[int, ...]) -> Array:
    targets = datum.inputs.get("target_tokens")
    if targets is None:
        raise RequestError(f"{place}: target_tokens is missing from loss_fn_inputs")
    length = datum.tokens.size
    is_wide = targets.ndim == 2 and not 1 <= targets.shape[1] <= vocab_size
    if targets.ndim not in dimensions or targets.shape[0] != length or is_wide:
        wide = f", or [{length}, K] with K up to {vocab_size}" if 2 in dimensions else ""
        raise RequestError(
            f"{place}: target_tokens has shape {list(targets.shape)}; expected [{length}], one "
            f"target per token{wide}"
        )
    if targets.dtype.kind != "i":
        raise RequestError(f"{place}: target_tokens is {targets.dtype}; expected int64")
    return targets


def _floats(array: Array, place: str, shape: tuple[int, ...]) -> FloatArray:
    if array.shape != shape:
        raise RequestError(
            f"{place} has shape {list(array.shape)}; expected {list(shape)}, as target_tokens"
        )
    if not np.isfinite(array).all():
        raise RequestError(f"{place} hold NaN or infinity")
    return array.astype(np.float32)


def _datum(
    datum: RawDatum, targets: Array, weights: FloatArray, inputs: Mapping[str, FloatArray]
) -> TrainDatum:
    return TrainDatum(
        tokens=datum.tokens.astype(np.int64, copy=False),
        targets=targets.astype(np.int64, copy=False),
        weights=weights,
        inputs=inputs,
    )
