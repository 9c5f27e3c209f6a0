"""What a sampling request wants to know about its prompt: logprobs, likeliest tokens, other draws.

All of it comes from the hidden states that reading the prompt leaves behind. Row i speaks of prompt
token i + 1; the first token has no prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tinker_engine.numerics.cross_entropy import OutputHead, head_loss
from tinker_engine.numerics.sampling import Choice, RandomStream, choose_tokens
from tinker_engine.runtime.records import (
    AlternativeTokens,
    FloatArray,
    IntArray,
    SampleRequest,
    TopLogprobs,
)

# Streams of alternative draws are numbered from here, away from those of the samples.
_FIRST_STREAM = 1 << 32


@dataclass(frozen=True)
class PromptScores:
    """Each is None unless the request asked for it; lists cover the whole prompt, None first."""

    logprobs: list[float | None] | None = None
    topk: TopLogprobs | None = None
    targets: FloatArray | None = None
    alternatives: AlternativeTokens | None = None


def has_prompt_scores(request: SampleRequest) -> bool:
    """Whether a request asks for anything here."""
    return (
        request.prompt_logprobs
        or request.topk_prompt_logprobs > 0
        or request.prompt_targets is not None
        or request.prompt_alt_tokens > 0
    )


def prompt_scores(head: OutputHead, request: SampleRequest, hidden: Tensor) -> PromptScores:
    """Scores of a prompt of T tokens from its hidden states (T - 1, D)."""
    logprobs: list[float | None] | None = None
    if request.prompt_logprobs:
        targets = torch.from_numpy(request.prompt[1:])
        weights = torch.zeros(len(targets))
        found = head_loss(head, hidden, targets, weights, needs_grad=False).logprobs
        logprobs = [None, *found.tolist()]
    count = request.topk_prompt_logprobs
    wanted, alternatives = request.prompt_targets, request.prompt_alt_tokens
    return PromptScores(
        logprobs=logprobs,
        topk=[None, *_top_logprobs(head, hidden, count)] if count > 0 else None,
        targets=None if wanted is None else _target_logprobs(head, hidden, wanted),
        alternatives=_draws(head, hidden, request) if alternatives > 0 else None,
    )


def top_logprobs(logprobs_V: Tensor, count: int) -> list[list[tuple[int, float]]]:
    """The likeliest tokens of each row (n, V) with their logprobs, best first."""
    top = logprobs_V.topk(min(count, logprobs_V.shape[1]))
    return [
        list(zip(ids, values, strict=True))
        for ids, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def _top_logprobs(head: OutputHead, hidden: Tensor, count: int) -> list[list[tuple[int, float]]]:
    rows: list[list[tuple[int, float]]] = []
    for piece in hidden.split(head.chunk_rows):
        rows.extend(top_logprobs(torch.log_softmax(head.logits(piece), dim=-1), count))
    return rows


def _target_logprobs(head: OutputHead, hidden: Tensor, wanted: IntArray) -> FloatArray:
    """Logprobs (T - 1, K) of the wanted ids; 0 where an id is -1."""
    ids = torch.from_numpy(wanted)
    found = torch.zeros(ids.shape)
    for start in range(0, len(hidden), head.chunk_rows):
        rows = slice(start, start + head.chunk_rows)
        logprobs_V = torch.log_softmax(head.logits(hidden[rows]), dim=-1)
        found[rows] = logprobs_V.gather(1, ids[rows].clamp(min=0))
    return torch.where(ids < 0, 0.0, found).numpy()


def _draws(head: OutputHead, hidden: Tensor, request: SampleRequest) -> AlternativeTokens:
    """Draws with replacement at the request's temperature, without top-k and top-p."""
    choice = Choice(request.temperature, -1, 1.0)
    tokens = torch.zeros(len(hidden), request.prompt_alt_tokens, dtype=torch.int64)
    logprobs = torch.zeros(tokens.shape)
    for start in range(0, len(hidden), head.chunk_rows):
        piece = hidden[start : start + head.chunk_rows]
        logits = head.logits(piece)
        logprobs_V = torch.log_softmax(logits, dim=-1)
        rows = range(start, start + len(piece))
        streams = [RandomStream(request.seed, _FIRST_STREAM + row) for row in rows]
        for k in range(request.prompt_alt_tokens):
            drawn = choose_tokens(logits, [choice] * len(piece), streams)
            tokens[rows.start : rows.stop, k] = drawn
            logprobs[rows.start : rows.stop, k] = logprobs_V.gather(1, drawn[:, None])[:, 0]
    return AlternativeTokens(tokens.numpy(), logprobs.numpy())
