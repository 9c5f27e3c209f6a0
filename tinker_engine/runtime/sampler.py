"""Answering sampling requests in batches: each result is independent of its neighbours.

Prompts are read once however many samples they get, batches hold prompts of similar length, and a
row leaves its batch as soon as it has ended. Logprobs are those of the model itself: before
temperature, top-k and top-p.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from tinker_engine.errors import RequestError
from tinker_engine.numerics.network import Continuation
from tinker_engine.numerics.sampling import Choice, RandomStream, choose_tokens
from tinker_engine.runtime.prompt_scores import (
    PromptScores,
    has_prompt_scores,
    prompt_scores,
    top_logprobs,
)
from tinker_engine.runtime.records import (
    SampledSequence,
    SampleRequest,
    SampleResult,
    TokenEvent,
    TopLogprobs,
)
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.runtime.training_pass import AdaptedModel

BATCH_ROWS = 128
BATCH_TOKENS = 1 << 15  # cached positions of one batch, new tokens included


@dataclass
class Row:
    """One sequence in the making: sample `sample` of request `request`."""

    request: int
    sample: int
    choice: Choice
    stream: RandomStream
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    topk: TopLogprobs = field(default_factory=list)
    stop_reason: Literal["length", "stop"] | None = None
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True)
class SamplerModel:
    """What is sampled from; `decode` turns token ids into text, for stop strings."""

    adapted: AdaptedModel
    max_context: int
    end_ids: frozenset[int]
    decode: Callable[[list[int]], str]


def check_requests(requests: Sequence[SampleRequest], vocab_size: int, max_context: int) -> None:
    """Raises RequestError naming the first request that can't be answered."""
    for index, request in enumerate(requests):
        length = len(request.prompt)
        if length == 0:
            raise RequestError(f"request {index}: the prompt is empty; give at least one token")
        if int(request.prompt.min()) < 0 or int(request.prompt.max()) >= vocab_size:
            raise RequestError(f"request {index}: prompt tokens must lie in 0 .. {vocab_size - 1}")
        if length > max_context:
            raise RequestError(
                f"request {index}: {length} prompt tokens exceed the context of {max_context}"
            )
        if request.num_samples < 1 or request.max_tokens < 0:
            raise RequestError(f"request {index}: num_samples must be >= 1 and max_tokens >= 0")
        if not request.temperature >= 0 or not 0 < request.top_p <= 1:
            raise RequestError(f"request {index}: temperature must be >= 0 and top_p in (0, 1]")


def sample_all(
    model: SamplerModel, requests: Sequence[SampleRequest], watches: Sequence[Watch] | None = None
) -> list[SampleResult]:
    """Results in the order of the requests; what a cancelled one got until then."""
    rows: list[Row] = []
    scores: dict[int, PromptScores] = {}
    with torch.inference_mode():
        for batch in _batches(requests):
            rows.extend(_sample_batch(model, requests, batch, scores, watches))
    sequences: list[list[SampledSequence]] = [[] for _ in requests]
    for row in sorted(rows, key=lambda r: (r.request, r.sample)):
        ended = row.stop_reason or "length"
        topk = row.topk if requests[row.request].topk_sample_logprobs > 0 else None
        sequences[row.request].append(SampledSequence(row.tokens, row.logprobs, ended, topk))
    return [
        SampleResult(
            sequences[index],
            prompt_logprobs=scores[index].logprobs,
            topk_prompt_logprobs=scores[index].topk,
            prompt_targets=scores[index].targets,
            prompt_targets_layout=request.prompt_targets_layout,
            prompt_alt_tokens=scores[index].alternatives,
        )
        for index, request in enumerate(requests)
    ]


def _batches(requests: Sequence[SampleRequest]) -> list[list[int]]:
    """Request indices by prompt length, cut by rows and by cached positions."""
    order = sorted(range(len(requests)), key=lambda i: len(requests[i].prompt))
    batches: list[list[int]] = []
    rows = 0
    for index in order:
        request = requests[index]
        wide = len(request.prompt) + request.max_tokens
        added = max(request.num_samples, 1)
        is_full = rows + added > BATCH_ROWS or (rows + added) * wide > BATCH_TOKENS
        if not batches or is_full:
            batches.append([])
            rows = 0
        batches[-1].append(index)
        rows += added
    return batches


def _sample_batch(
    model: SamplerModel,
    requests: Sequence[SampleRequest],
    batch: Sequence[int],
    scores: dict[int, PromptScores],
    watches: Sequence[Watch] | None,
) -> list[Row]:
    new_tokens = {i: _room(model, requests[i]) for i in batch}
    capacity = max(new_tokens.values())
    adapted = model.adapted
    prompts = [requests[i].prompt for i in batch]
    state = adapted.network.read(adapted.adapted, prompts, capacity)
    rows: list[Row] = []
    selected: list[int] = []
    for place, index in enumerate(batch):
        request = requests[index]
        scores[index] = PromptScores()
        if has_prompt_scores(request):
            hidden = state.prompt_hidden(place)[:-1]  # (T - 1, D)
            scores[index] = prompt_scores(adapted.head, request, hidden)
        choice = Choice(request.temperature, request.top_k, request.top_p)
        for sample in range(request.num_samples):
            watch = Watch() if watches is None else watches[index]
            stream = RandomStream(request.seed, sample)
            rows.append(Row(index, sample, choice, stream, watch=watch))
            selected.append(place)
    live = [k for k, row in enumerate(rows) if new_tokens[row.request] > 0]
    if not live:
        return rows
    if [selected[k] for k in live] != list(range(len(batch))):
        state.select([selected[k] for k in live])
    _continue_rows(model, requests, state, [rows[k] for k in live], new_tokens)
    return rows


def _room(model: SamplerModel, request: SampleRequest) -> int:
    """New tokens that the request may get; the last one needn't fit in the context."""
    return min(request.max_tokens, model.max_context - len(request.prompt) + 1)


def _continue_rows(
    model: SamplerModel,
    requests: Sequence[SampleRequest],
    state: Continuation,
    live: list[Row],
    new_tokens: Mapping[int, int],
) -> None:
    """Sample until every row has ended; rows that end leave the batch."""
    while True:
        logits = model.adapted.head.logits(state.last)  # (B, V)
        chosen = choose_tokens(logits, [r.choice for r in live], [r.stream for r in live])
        picked = logits.gather(1, chosen[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)
        for row, token, logprob in zip(live, chosen.tolist(), picked.tolist(), strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)
            row.stop_reason = _ended(model, requests[row.request], row, new_tokens[row.request])
        _note_top(requests, live, logits)
        _tell(live)
        going = [
            k
            for k, row in enumerate(live)
            if row.stop_reason is None and not row.watch.is_cancelled()
        ]
        if not going:
            return
        if len(going) < len(live):
            state.select(going)
            live = [live[k] for k in going]
            chosen = chosen[torch.tensor(going)]
        state.advance(chosen)


def _ended(
    model: SamplerModel, request: SampleRequest, row: Row, room: int
) -> Literal["length", "stop"] | None:
    """Why a row ends after its last token; stop tokens and strings stay part of the result."""
    if request.goes_past_end:
        return "length" if len(row.tokens) >= room else None
    last = row.tokens[-1]
    if last in request.stop_token_ids or last in model.end_ids:
        return "stop"
    if request.stop_strings:
        # A stop string is at most as many tokens long as it has bytes, so the tail is enough.
        span = max(len(text.encode()) for text in request.stop_strings) + 4
        tail = model.decode(row.tokens[-span:])
        if any(text in tail for text in request.stop_strings):
            return "stop"
    return "length" if len(row.tokens) >= room else None


def _tell(live: Sequence[Row]) -> None:
    """Hand the tokens just chosen to whoever watches."""
    for row in live:
        if row.watch.on_token is not None:
            top = row.topk[-1] if row.topk else None
            event = TokenEvent(row.sample, row.tokens[-1], row.logprobs[-1], top, row.stop_reason)
            row.watch.on_token(event)


def _note_top(requests: Sequence[SampleRequest], live: Sequence[Row], logits: Tensor) -> None:
    """The likeliest tokens at the place just sampled, for rows that want them."""
    for k, row in enumerate(live):
        count = requests[row.request].topk_sample_logprobs
        if count > 0:
            row.topk.extend(top_logprobs(torch.log_softmax(logits[k : k + 1], dim=-1), count))
