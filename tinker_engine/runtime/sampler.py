"""One sampled sequence in the making: its tokens so far, what it may still get, and why it ends.

Logprobs are those of the model itself: before temperature, top-k and top-p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from tinker_engine.errors import NonFiniteError, RequestError
from tinker_engine.numerics.sampling import Choice, RandomStream, choose_tokens
from tinker_engine.runtime.prompt_scores import top_logprobs
from tinker_engine.runtime.records import (
    SampledSequence,
    SampleRequest,
    TokenEvent,
    TopLogprobs,
)
from tinker_engine.runtime.sample_watch import Watch


@dataclass(frozen=True)
class TextRules:
    """What the base says about texts; `decode` turns token ids into text, for stop strings."""

    max_context: int
    vocab_size: int
    end_ids: frozenset[int]
    decode: Callable[[list[int]], str]


@dataclass
class Row:
    """Sample `sample` of a request; `room` is how many tokens it may get."""

    request: SampleRequest
    sample: int
    room: int
    watch: Watch
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    topk: TopLogprobs = field(default_factory=list)
    stop_reason: Literal["length", "stop"] | None = None

    def __post_init__(self) -> None:
        request = self.request
        self.choice = Choice(request.temperature, request.top_k, request.top_p)
        self.stream = RandomStream(request.seed, self.sample)

    def sequence(self) -> SampledSequence:
        """What came of it."""
        topk = self.topk if self.request.topk_sample_logprobs > 0 else None
        return SampledSequence(self.tokens, self.logprobs, self.stop_reason or "length", topk)

    def take(
        self, token: int, logprob: float, top: list[tuple[int, float]] | None, rules: TextRules
    ) -> None:
        """Append a token, settle whether it is the last, and tell whoever watches.

        Raises NonFiniteError for a logprob that is no number.
        """
        if not math.isfinite(logprob):
            raise NonFiniteError(
                "the model's logits are not finite for this request: its adapter is damaged, or "
                "was trained until it diverged; sample from an earlier checkpoint"
            )
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if top is not None:
            self.topk.append(top)
        self.stop_reason = _ended(self, rules)
        if self.watch.on_token is not None:
            event = TokenEvent(self.sample, token, logprob, top, self.stop_reason)
            self.watch.on_token(event)


def choose(rows: Sequence[Row], logits: Tensor) -> list[tuple[int, float, Tensor | None]]:
    """Next token of each row with its logprob; with top logprobs asked for, all of them (V,)."""
    chosen = choose_tokens(logits, [row.choice for row in rows], [row.stream for row in rows])
    picked = logits.gather(1, chosen[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
    return [
        (token, logprob, logits[k] if rows[k].request.topk_sample_logprobs > 0 else None)
        for k, (token, logprob) in enumerate(zip(chosen.tolist(), picked.tolist(), strict=True))
    ]


def likeliest(logits_V: Tensor, count: int) -> list[tuple[int, float]]:
    """The likeliest tokens of one row of logits, best first."""
    return top_logprobs(torch.log_softmax(logits_V[None], dim=-1), count)[0]


def check_request(request: SampleRequest, rules: TextRules) -> None:
    """Raises RequestError for a request that can't be answered."""
    length = len(request.prompt)
    if length == 0:
        raise RequestError("the prompt is empty; give at least one token")
    if int(request.prompt.min()) < 0 or int(request.prompt.max()) >= rules.vocab_size:
        raise RequestError(f"prompt tokens must lie in 0 .. {rules.vocab_size - 1}")
    if length > rules.max_context:
        raise RequestError(f"{length} prompt tokens exceed the context of {rules.max_context}")
    if request.num_samples < 1 or request.max_tokens < 0:
        raise RequestError("num_samples must be >= 1 and max_tokens >= 0")
    if not request.temperature >= 0 or not 0 < request.top_p <= 1:
        raise RequestError("temperature must be >= 0 and top_p in (0, 1]")


def room_of(request: SampleRequest, rules: TextRules) -> int:
    """New tokens that the request may get; the last one needn't fit in the context."""
    return min(request.max_tokens, rules.max_context - len(request.prompt) + 1)


def _ended(row: Row, rules: TextRules) -> Literal["length", "stop"] | None:
    """Why a row ends after its last token; stop tokens and strings stay part of the result."""
    request = row.request
    if not request.goes_past_end:
        last = row.tokens[-1]
        if last in request.stop_token_ids or last in rules.end_ids:
            return "stop"
        if request.stop_strings:
            # A stop string is at most as many tokens long as it has bytes: the tail is enough.
            span = max(len(text.encode()) for text in request.stop_strings) + 4
            tail = rules.decode(row.tokens[-span:])
            if any(text in tail for text in request.stop_strings):
                return "stop"
    return "length" if len(row.tokens) >= row.room else None
