"""From a body of `/v1` to the sampling requests that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from tinker_engine.errors import ParameterError
from tinker_engine.protocol.openai_requests import ChatBody, CompletionBody
from tinker_engine.runtime.base_text import BaseText
from tinker_engine.runtime.records import BaseInfo, IntArray, SampleRequest

MOST_ROWS = 2048
# OpenAI's own default for completions; chat answers may fill the context.
_COMPLETION_TOKENS = 16


@dataclass(frozen=True)
class Question:
    """The sampling requests of one body, one for each prompt."""

    requests: list[SampleRequest]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(len(request.prompt) for request in self.requests)


def chat_question(body: ChatBody, text: BaseText, base: BaseInfo) -> Question:
    """The question that a chat asks; raises ParameterError."""
    if body.token_limit == 0:
        raise ParameterError("max_tokens must be at least 1 in a chat", param="max_tokens")
    prompt = text.chat_prompt(body.messages, body.offered_tools)
    top = body.top_logprobs or 0
    return Question([_request(body, prompt, base, "messages", body.token_limit, top)])


def completion_question(body: CompletionBody, text: BaseText, base: BaseInfo) -> Question:
    """The questions that prompts ask, in their order; raises ParameterError."""
    if body.echo and body.stream and body.logprobs is not None:
        raise ParameterError(
            "echo with logprobs is not served as a stream; set stream to false", param="stream"
        )
    prompts = [_prompt_ids(prompt, text, base) for prompt in body.prompts]
    if not prompts or len(prompts) * (body.n or 1) > MOST_ROWS:
        raise ParameterError(
            f"{len(prompts)} prompts with {body.n or 1} samples each; expected 1 to {MOST_ROWS} "
            "answers in one request",
            param="prompt",
        )
    limit = _COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
    top = body.logprobs or 0
    return Question([_request(body, prompt, base, "prompt", limit, top) for prompt in prompts])


def _prompt_ids(prompt: str | Sequence[int], text: BaseText, base: BaseInfo) -> IntArray:
    if isinstance(prompt, str):
        return text.prompt(prompt)
    ids = cast("list[int]", prompt)
    # Before they become 64-bit integers: JSON's are of any size.
    if ids and not 0 <= min(ids) <= max(ids) < base.vocab_size:
        raise ParameterError(
            f"prompt tokens must lie in 0 .. {base.vocab_size - 1}", param="prompt"
        )
    return np.asarray(ids, dtype=np.int64)


def _request(
    body: ChatBody | CompletionBody,
    prompt: IntArray,
    base: BaseInfo,
    param: str,
    limit: int | None,
    top: int,
) -> SampleRequest:
    if not 1 <= prompt.size <= base.max_context:
        raise ParameterError(
            f"the prompt has {prompt.size} tokens; expected 1 to {base.max_context}, the context "
            "of this model; shorten it",
            param=param,
            code="context_length_exceeded" if prompt.size else "invalid_value",
        )
    # The last new token needn't fit in the context, because nothing is read after it.
    room = base.max_context - int(prompt.size) + 1
    scores_prompt = isinstance(body, CompletionBody) and body.echo and body.logprobs is not None
    return SampleRequest(
        prompt=prompt,
        num_samples=body.n or 1,
        max_tokens=room if limit is None else min(limit, room),
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=-1 if body.top_k is None else body.top_k,
        seed=body.seed,
        stop_token_ids=(),
        stop_strings=body.stops,
        prompt_logprobs=bool(scores_prompt),
        topk_prompt_logprobs=top if scores_prompt else 0,
        topk_sample_logprobs=top,
    )
