"""Reading `user_metadata` into a RunSpec: LoRA shape, precision and privacy policy.

The Tinker API has no fields for them, so they travel as strings. Keys that start with `dp_` or
`lora_` and are not known are refused, because a misspelled privacy key must never mean "no
privacy"; all other keys are labels and are kept as they came.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from tinker_engine.errors import PrivacyPolicyError, RequestError
from tinker_engine.runtime.records import LoraTrain, Precision, PrivacyPolicy, RunSpec

ATTENTION_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP_TARGETS = ("gate_proj", "up_proj", "down_proj")
UNEMBED_TARGETS = ("lm_head",)
DEFAULT_ALPHA = 32.0
DEFAULT_MAX_EPSILON = 8.0
MAX_RANK = 1024

_LORA_KEYS = frozenset({"lora_alpha", "lora_train"})
_DP_KEYS = frozenset(
    {
        "dp_clip_norm",
        "dp_sampling_rate",
        "dp_expected_batch_size",
        "dp_delta",
        "dp_noise_multiplier",
        "dp_target_epsilon",
        "dp_steps",
        "dp_max_epsilon",
        "dp_record_set",
    }
)
_PLAIN_KEYS = frozenset({"target_modules", "precision"})


@dataclass(frozen=True)
class LoraFlags:
    """What `create_model` says beside the metadata."""

    rank: int
    seed: int
    train_mlp: bool
    train_attn: bool
    train_unembed: bool


def parse_run_spec(flags: LoraFlags, metadata: Mapping[str, Any] | None) -> RunSpec:
    """Build the RunSpec of a run.

    Raises RequestError for a bad LoRA key and PrivacyPolicyError for a bad `dp_` key; both name
    the key, its value and what is expected.
    """
    texts = _as_texts(metadata)
    _refuse_unknown(texts)
    if not 1 <= flags.rank <= MAX_RANK:
        raise RequestError(f"rank is {flags.rank}; expected 1 to {MAX_RANK}")
    engine_keys = _LORA_KEYS | _DP_KEYS | _PLAIN_KEYS
    return RunSpec(
        rank=flags.rank,
        alpha=_positive(texts, "lora_alpha", DEFAULT_ALPHA, RequestError),
        targets=_targets(texts.get("target_modules"), flags),
        seed=flags.seed,
        lora_train=cast(LoraTrain, _choice(texts, "lora_train", ("both", "B"))),
        precision=cast(Precision, _choice(texts, "precision", ("auto", "fp32", "bf16"))),
        privacy=_policy(texts),
        labels={k: v for k, v in texts.items() if k not in engine_keys},
    )


def is_private(metadata: Mapping[str, Any] | None) -> bool:
    """Whether the metadata ask for privacy at all."""
    return any(key.startswith("dp_") for key in metadata or {})


def _as_texts(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, value in (metadata or {}).items():
        if not isinstance(value, str):
            raise RequestError(
                f"user_metadata[{key!r}] is {value!r}; all values are strings (lists as JSON text)"
            )
        texts[key] = value
    return texts


def _refuse_unknown(texts: Mapping[str, str]) -> None:
    for key in texts:
        if key.startswith("dp_") and key not in _DP_KEYS:
            raise PrivacyPolicyError(
                f"unknown privacy key {key!r} in user_metadata; known: "
                + ", ".join(sorted(_DP_KEYS))
            )
        if key.startswith("lora_") and key not in _LORA_KEYS:
            raise RequestError(
                f"unknown key {key!r} in user_metadata; known: {', '.join(sorted(_LORA_KEYS))}, "
                "target_modules, precision"
            )


def _choice(texts: Mapping[str, str], key: str, allowed: tuple[str, ...]) -> str:
    value = texts.get(key, allowed[0])
    if value not in allowed:
        raise RequestError(f"{key} is {value!r}; expected one of {', '.join(allowed)}")
    return value


def _targets(text: str | None, flags: LoraFlags) -> tuple[str, ...]:
    if text is None:
        targets = (
            (ATTENTION_TARGETS if flags.train_attn else ())
            + (MLP_TARGETS if flags.train_mlp else ())
            + (UNEMBED_TARGETS if flags.train_unembed else ())
        )
        if not targets:
            raise RequestError("nothing to train: set train_attn, train_mlp or train_unembed")
        return targets
    try:
        names: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise RequestError(
            f'target_modules is {text!r}; expected a JSON list such as ["q_proj", "v_proj"]'
        ) from error
    if not isinstance(names, list) or not names:
        raise RequestError("target_modules must be a JSON list with at least one module name")
    for name in cast(list[object], names):
        if not isinstance(name, str) or not name.strip():
            raise RequestError(f"target_modules holds {name!r}; expected module names")
    return tuple(dict.fromkeys(cast(list[str], names)))


def _number(texts: Mapping[str, str], key: str, kind: type[RequestError]) -> float | None:
    text = texts.get(key)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise kind(f"{key} is {text!r}; expected a number") from None
    if not math.isfinite(value):
        raise kind(f"{key} is {text!r}; expected a finite number")
    return value


def _positive(
    texts: Mapping[str, str], key: str, default: float | None, kind: type[RequestError]
) -> float:
    value = _number(texts, key, kind)
    if value is None:
        value = default
    if value is None:
        raise kind(f"a private run needs {key} in user_metadata")
    if value <= 0:
        raise kind(f"{key} is {value:g}; expected more than 0")
    return value


def _policy(texts: Mapping[str, str]) -> PrivacyPolicy | None:
    given = {key for key in texts if key.startswith("dp_")}
    if not given:
        return None
    kind = PrivacyPolicyError
    noise = _number(texts, "dp_noise_multiplier", kind)
    target = _number(texts, "dp_target_epsilon", kind)
    if (noise is None) == (target is None):
        raise kind("a private run needs exactly one of dp_noise_multiplier and dp_target_epsilon")
    rate = _positive(texts, "dp_sampling_rate", None, kind)
    delta = _positive(texts, "dp_delta", None, kind)
    if rate > 1:
        raise kind(f"dp_sampling_rate is {rate:g}; expected at most 1")
    if delta >= 1:
        raise kind(f"dp_delta is {delta:g}; expected less than 1")
    if noise is not None and noise <= 0:
        raise kind(f"dp_noise_multiplier is {noise:g}; expected more than 0")
    if target is not None and target <= 0:
        raise kind(f"dp_target_epsilon is {target:g}; expected more than 0")
    budget = _positive(
        texts, "dp_max_epsilon", target if target is not None else DEFAULT_MAX_EPSILON, kind
    )
    return PrivacyPolicy(
        clip_norm=_positive(texts, "dp_clip_norm", None, kind),
        sampling_rate=rate,
        expected_batch_size=_positive(texts, "dp_expected_batch_size", None, kind),
        delta=delta,
        noise_multiplier=noise,
        target_epsilon=target,
        planned_steps=_steps(texts, needed=target is not None),
        max_epsilon=budget,
        record_set=texts.get("dp_record_set"),
    )


def _steps(texts: Mapping[str, str], *, needed: bool) -> int | None:
    text = texts.get("dp_steps")
    if text is None:
        if needed:
            raise PrivacyPolicyError("dp_target_epsilon needs dp_steps, the planned steps")
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise PrivacyPolicyError(f"dp_steps is {text!r}; expected a whole number of at least 1")
    return int(text)
