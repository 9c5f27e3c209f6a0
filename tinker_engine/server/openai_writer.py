"""Writing an answer of `/v1`: all at once, or as server-sent events while it is made."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tinker_engine.errors import EngineError
from tinker_engine.protocol.openai_errors import openai_error
from tinker_engine.protocol.openai_requests import ChatBody, CompletionBody
from tinker_engine.runtime.base_text import BaseText
from tinker_engine.runtime.choices import ChoiceWriter, Delta, ScoredToken
from tinker_engine.runtime.generation import PromptToken
from tinker_engine.runtime.records import SampledSequence, SampleResult, TokenEvent
from tinker_engine.runtime.token_text import TextStream
from tinker_engine.server.openai_answers import Layout, Usage
from tinker_engine.server.openai_prompts import Question

logger = logging.getLogger(__name__)

DONE = b"data: [DONE]\n\n"
STILL_THERE = b": waiting\n\n"


class AnswerWriter:
    """Builds the choices of one answer: prompt by prompt, sample by sample."""

    def __init__(self, layout: Layout, question: Question, text: BaseText) -> None:
        body = layout.body
        self._layout = layout
        self._question = question
        self._text = text
        self._samples = body.n or 1
        reads_calls = isinstance(body, ChatBody) and bool(body.offered_tools) and text.writes_calls
        self._writers = [
            ChoiceWriter(
                text.vocabulary, body.stops, is_chat=layout.is_chat, reads_calls=reads_calls
            )
            for _ in range(len(question.requests) * self._samples)
        ]
        self._calls = [0] * len(self._writers)

    @property
    def is_done(self) -> bool:
        """Whether every choice has ended."""
        return all(writer.is_done for writer in self._writers)

    def whole(self, results: Sequence[SampleResult]) -> dict[str, Any]:
        """The answer made of finished results."""
        choices: list[list[Delta]] = []
        for prompt, result in enumerate(results):
            echo = self._echo(prompt, result)
            for sequence in result.sequences:
                writer = self._writers[len(choices)]
                deltas = [writer.push(event) for event in _events(sequence)]
                deltas = [*deltas, writer.finish()]
                choices.append([echo, *_shifted(deltas, len(echo.text))] if echo else deltas)
        return self._layout.whole(choices, self.usage())

    def opening(self) -> list[bytes]:
        """What a stream begins with."""
        if self._layout.is_chat:
            return [_event(self._layout.opening(i)) for i in range(len(self._writers))]
        chunks: list[bytes] = []
        for index in range(len(self._writers)):
            echo = self._echo(index // self._samples, None)
            if echo:
                chunks.append(_event(self._layout.chunk(index, echo)))
        return chunks

    def push(self, token: PromptToken) -> bytes:
        """The chunk that a token makes; empty where nothing can be shown yet."""
        index = token.prompt * self._samples + token.event.sample
        return self._chunk(index, self._writers[index].push(token.event))

    def closing(self) -> list[bytes]:
        """What a stream ends with."""
        ends = [self._chunk(i, writer.finish()) for i, writer in enumerate(self._writers)]
        if self._layout.body.includes_usage:
            ends.append(_event(self._layout.usage_chunk(self.usage())))
        return [*ends, DONE]

    def usage(self) -> Usage:
        """Tokens so far."""
        made = sum(writer.count for writer in self._writers)
        return Usage(self._question.prompt_tokens, made)

    def _chunk(self, index: int, delta: Delta) -> bytes:
        if delta.is_empty:
            return b""
        chunk = self._layout.chunk(index, delta, self._calls[index])
        self._calls[index] += len(delta.calls)
        return _event(chunk)

    def _echo(self, prompt: int, result: SampleResult | None) -> Delta | None:
        """The prompt as the beginning of a completion, scored where that was asked for."""
        body = self._layout.body
        if not isinstance(body, CompletionBody) or not body.echo:
            return None
        ids = [int(token) for token in self._question.requests[prompt].prompt]
        stream = TextStream(self._text.vocabulary)
        pieces = [*(stream.push(token) for token in ids), stream.close()]
        given = body.prompts[prompt]
        text = given if isinstance(given, str) else "".join(piece.text for piece in pieces)
        scored: list[ScoredToken] = []
        if result is not None and result.prompt_logprobs is not None:
            top = result.topk_prompt_logprobs or [None] * len(ids)
            scored = [
                ScoredToken(ids[place], result.prompt_logprobs[place], top[place], offset)
                for piece in pieces
                for place, offset in piece.tokens
            ]
        return Delta(text, [], scored)


async def event_stream(
    writer: AnswerWriter, first: list[PromptToken], rest: AsyncIterator[list[PromptToken]]
) -> AsyncIterator[bytes]:
    """Server-sent events of an answer; a failure on the way becomes an event, too."""
    for chunk in writer.opening():
        yield chunk
    bunch = first
    try:
        while True:
            if chunks := b"".join(writer.push(token) for token in bunch):
                yield chunks
            elif not bunch:
                yield STILL_THERE
            if writer.is_done:
                break
            following = await anext(rest, None)
            if following is None:
                break
            bunch = following
        for chunk in writer.closing():
            yield chunk
    except EngineError as error:
        yield _event(openai_error(error))
    # The status line is out: whatever happens now must be told inside the stream.
    except Exception:
        number = uuid.uuid4().hex[:8]
        logger.exception("a stream failed (%s)", number)
        failure = EngineError(f"internal error {number}; the server's log has the traceback")
        yield _event(openai_error(failure))


class EventResponse(StreamingResponse):
    """Server-sent events; `on_end` is called however the connection ends."""

    media_type = "text/event-stream"

    def __init__(
        self,
        content: AsyncIterator[bytes],
        headers: Mapping[str, str],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(content, headers={"Cache-Control": "no-cache", **headers})
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


def _events(sequence: SampledSequence) -> list[TokenEvent]:
    """A finished sequence as the events that a stream would have had."""
    last = len(sequence.tokens) - 1
    top = sequence.topk or [None] * len(sequence.tokens)
    return [
        TokenEvent(0, token, logprob, top[i], sequence.stop_reason if i == last else None)
        for i, (token, logprob) in enumerate(zip(sequence.tokens, sequence.logprobs, strict=True))
    ]


def _shifted(deltas: Sequence[Delta], count: int) -> list[Delta]:
    """Deltas behind an echoed prompt: their tokens begin later in the text."""
    return [
        Delta(
            delta.text,
            delta.calls,
            [
                ScoredToken(token.token, token.logprob, token.top, token.offset + count)
                for token in delta.tokens
            ],
            delta.finish,
        )
        for delta in deltas
    ]


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + to_json(content, inf_nan_mode="null") + b"\n\n"
