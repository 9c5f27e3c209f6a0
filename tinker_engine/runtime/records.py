"""Internal records that pass between the wire rooms and the compute rooms.

Frozen dataclasses with numpy arrays; no torch and no HTTP here. T is the number of positions of
one datum; inputs are already shifted by the client, so `targets[t]` is the token that follows
`tokens[: t + 1]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]

LoraTrain = Literal["both", "B"]
# Label of a run: hex SHA-256 of the adapter file that it was started from.
STARTED_FROM = "started_from"
Precision = Literal["auto", "fp32", "bf16"]
LossName = Literal["cross_entropy", "importance_sampling", "ppo", "cispo", "dro", "gspo", "dpo"]


@dataclass(frozen=True)
class PrivacyPolicy:
    """DP-SGD parameters of one run; the unit of privacy is one datum.

    Exactly one of `noise_multiplier` and `target_epsilon` is given; `target_epsilon` needs
    `planned_steps`, and the engine calibrates the noise multiplier from them.
    """

    clip_norm: float
    sampling_rate: float
    expected_batch_size: float
    delta: float
    noise_multiplier: float | None = None
    target_epsilon: float | None = None
    planned_steps: int | None = None
    max_epsilon: float = 8.0
    record_set: str | None = None


@dataclass(frozen=True)
class RunSpec:
    """What a training run is made of. `targets` are module-name suffixes such as `q_proj`."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    seed: int
    lora_train: LoraTrain = "both"
    precision: Precision = "auto"
    privacy: PrivacyPolicy | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainDatum:
    """One training example. All arrays have shape (T,).

    For cross-entropy, `targets` and `weights` may be (T, K): K targets per position. `inputs` holds
    what other losses take per token, settings included; those don't read `weights`.
    """

    tokens: IntArray
    targets: IntArray
    weights: FloatArray
    inputs: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])


@dataclass(frozen=True)
class TrainRequest:
    """A `forward_backward` of one run."""

    run_id: str
    data: Sequence[TrainDatum]
    loss: LossName

    @property
    def rows(self) -> int:
        """Tokens to compute."""
        return sum(len(datum.tokens) for datum in self.data)


@dataclass(frozen=True)
class LossOutput:
    """Per-datum results, in the order of the request.

    `logprobs[i]` and `elementwise_loss[i]` have the shape of datum i's targets; `loss_sum` is the
    sum of the latter over all data.
    """

    logprobs: list[FloatArray]
    elementwise_loss: list[FloatArray]
    loss_sum: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AdamParams:
    """AdamW as the Tinker API names it; `grad_clip_norm` 0 means off."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-12
    weight_decay: float = 0.0
    grad_clip_norm: float = 0.0


@dataclass(frozen=True)
class StepResult:
    """What `optim_step` did: the step number from 1 on, and metrics for the client."""

    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class PrivacyRecord:
    """What a private run has spent so far, as its ledger says.

    `declared` names what the engine can't observe (Poisson sampling at `sampling_rate`).
    """

    mechanism: str
    unit: str
    epsilon: float
    delta: float
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    expected_batch_size: float
    steps: int
    planned_steps: int | None
    max_epsilon: float
    record_set: str | None
    accountant: str
    accountant_version: str
    lora_train: LoraTrain
    declared: str
    ledger_digest: str


@dataclass(frozen=True)
class CsrLayout:
    """Which cells of a matrix are listed: row pointers (rows + 1,) and columns (listed,)."""

    crow: IntArray
    col: IntArray


TopLogprobs = list[list[tuple[int, float]] | None]


@dataclass(frozen=True)
class SampleRequest:
    """One prompt to continue.

    With `goes_past_end`, neither the end of text nor anything else ends a sequence before
    `max_tokens`. `prompt_targets` (T - 1, K) names tokens to score, -1 for none, and the layout
    says how they were listed; `prompt_alt_tokens` is how many other tokens to draw at each place.
    """

    prompt: IntArray
    num_samples: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    stop_token_ids: tuple[int, ...]
    stop_strings: tuple[str, ...]
    prompt_logprobs: bool
    topk_prompt_logprobs: int = 0
    topk_sample_logprobs: int = 0
    prompt_targets: IntArray | None = None
    prompt_targets_layout: CsrLayout | None = None
    prompt_alt_tokens: int = 0
    goes_past_end: bool = False

    @property
    def most_tokens(self) -> int:
        """Tokens of the prompt and all that may be made."""
        return len(self.prompt) + self.num_samples * self.max_tokens


@dataclass(frozen=True)
class SampledSequence:
    """New tokens with their logprobs (both of the same length) and why it ended.

    `topk` has the likeliest tokens at each place, when they were asked for.
    """

    tokens: list[int]
    logprobs: list[float]
    stop_reason: Literal["length", "stop"]
    topk: TopLogprobs | None = None


@dataclass(frozen=True)
class TokenEvent:
    """One token of a running request, the moment it is chosen.

    `sample` counts from 0 to `num_samples - 1`. `top_logprobs` has the likeliest tokens at this
    place, best first, where the request asked for them. The last event of a sample, and no other,
    has a `stop_reason`.
    """

    sample: int
    token: int
    logprob: float
    top_logprobs: list[tuple[int, float]] | None
    stop_reason: Literal["length", "stop"] | None


@dataclass(frozen=True)
class AlternativeTokens:
    """Tokens drawn at each prompt position after the first, and their logprobs: (T - 1, k)."""

    tokens: IntArray
    logprobs: FloatArray


@dataclass(frozen=True)
class SampleResult:
    """`prompt_logprobs` starts with None, as the first token has no prediction.

    `prompt_targets` (T - 1, K) has the logprobs of the request's targets, 0 where it named none.
    """

    sequences: list[SampledSequence]
    prompt_logprobs: list[float | None] | None = None
    topk_prompt_logprobs: TopLogprobs | None = None
    prompt_targets: FloatArray | None = None
    prompt_targets_layout: CsrLayout | None = None
    prompt_alt_tokens: AlternativeTokens | None = None


@dataclass(frozen=True)
class BaseInfo:
    """Identity of the loaded base model; digests are hex SHA-256."""

    name: str
    path: str
    architecture: str
    digest: str
    tokenizer_digest: str
    chat_template_digest: str
    max_context: int
    vocab_size: int
    hidden_size: int


@dataclass(frozen=True)
class BaseShape:
    """What an adapter can attach to: linear modules by full name with (in, out) features.

    `num_experts` is 0 for a dense model.
    """

    modules: dict[str, tuple[int, int]]
    num_experts: int
