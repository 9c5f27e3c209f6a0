"""Answers of `/v1` in OpenAI's layouts: whole ones, chunks of a stream, logprobs of both kinds."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tinker_engine.protocol.openai_requests import ChatBody, CompletionBody
from tinker_engine.runtime.choices import Delta, ScoredToken
from tinker_engine.runtime.served_models import ModelCard, ServedModel
from tinker_engine.runtime.token_text import Vocabulary
from tinker_engine.runtime.tool_calls import ToolCall

OWNER = "tinker-engine"


@dataclass(frozen=True)
class Usage:
    """Tokens of the prompts, and tokens that the model made."""

    prompt_tokens: int
    completion_tokens: int

    def to_json(self) -> dict[str, int]:
        """The counts with their sum."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


@dataclass(frozen=True)
class Layout:
    """What all parts of one answer share, and how its choices are written."""

    body: ChatBody | CompletionBody
    model: ServedModel
    vocabulary: Vocabulary
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def is_chat(self) -> bool:
        """Whether this is a chat completion."""
        return isinstance(self.body, ChatBody)

    def whole(self, choices: Sequence[Sequence[Delta]], usage: Usage) -> dict[str, Any]:
        """The whole answer; each choice is given as its deltas."""
        kind = "chat.completion" if self.is_chat else "text_completion"
        made = [self._whole_choice(index, deltas) for index, deltas in enumerate(choices)]
        return {**self._envelope(kind), "choices": made, "usage": usage.to_json()}

    def opening(self, index: int) -> dict[str, Any]:
        """The first chunk of a chat choice, which names the role."""
        return self._chunk([self._chat_piece(index, {"role": "assistant", "content": ""}, None)])

    def chunk(self, index: int, delta: Delta, calls_before: int = 0) -> dict[str, Any]:
        """One delta of a choice as a chunk; tool calls are numbered over the whole choice."""
        if not self.is_chat:
            return self._chunk([self._text_choice(index, [delta])])
        content: dict[str, Any] = {"content": delta.text} if delta.text else {}
        if delta.calls:
            content["tool_calls"] = [
                {"index": calls_before + place, **_call(call)}
                for place, call in enumerate(delta.calls)
            ]
        piece = self._chat_piece(index, content, delta.finish)
        piece["logprobs"] = self._chat_logprobs(delta.tokens)
        return self._chunk([piece])

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        """The last chunk of a stream that counts tokens."""
        return {**self._chunk([]), "usage": usage.to_json()}

    def _envelope(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl-" if self.is_chat else "cmpl-"
        return {
            "id": prefix + self.id,
            "object": kind,
            "created": self.created,
            "model": self.body.model,
            "system_fingerprint": self.model.digest,
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        chunk = {**self._envelope(kind), "choices": choices}
        if self.body.includes_usage:
            chunk["usage"] = None
        return chunk

    def _whole_choice(self, index: int, deltas: Sequence[Delta]) -> dict[str, Any]:
        if not self.is_chat:
            return self._text_choice(index, deltas)
        text = "".join(delta.text for delta in deltas)
        calls = [call for delta in deltas for call in delta.calls]
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message["content"] = text or None
            message["tool_calls"] = [_call(call) for call in calls]
        return {
            "index": index,
            "message": message,
            "logprobs": self._chat_logprobs([token for delta in deltas for token in delta.tokens]),
            "finish_reason": _finish(deltas),
        }

    def _chat_piece(self, index: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}

    def _text_choice(self, index: int, deltas: Sequence[Delta]) -> dict[str, Any]:
        tokens = [token for delta in deltas for token in delta.tokens]
        return {
            "index": index,
            "text": "".join(delta.text for delta in deltas),
            "logprobs": self._text_logprobs(tokens),
            "finish_reason": _finish(deltas),
        }

    def _chat_logprobs(self, tokens: Sequence[ScoredToken]) -> dict[str, Any] | None:
        if not self.body.logprobs:
            return None
        content = [
            {
                **self._named(token.token, token.logprob),
                "top_logprobs": [self._named(*entry) for entry in token.top or []],
            }
            for token in tokens
        ]
        return {"content": content, "refusal": None}

    def _named(self, token: int, logprob: float | None) -> dict[str, Any]:
        raw = self.vocabulary.raw(token)
        return {"token": self.vocabulary.name(token), "logprob": logprob, "bytes": list(raw)}

    def _text_logprobs(self, tokens: Sequence[ScoredToken]) -> dict[str, Any] | None:
        if self.body.logprobs is None:
            return None
        name = self.vocabulary.name
        return {
            "tokens": [name(token.token) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [self._top(token) for token in tokens],
            "text_offset": [token.offset for token in tokens],
        }

    def _top(self, token: ScoredToken) -> dict[str, float] | None:
        """The likeliest tokens and the one that stands there, which may be one more."""
        if token.logprob is None:
            return None
        name = self.vocabulary.name
        top = {name(other): logprob for other, logprob in token.top or []}
        top.setdefault(name(token.token), token.logprob)
        return top


def model_json(card: ModelCard) -> dict[str, Any]:
    """One entry of `/v1/models`; `kind` and `digest` are extensions."""
    return {
        "id": card.name,
        "object": "model",
        "created": int(card.created_at),
        "owned_by": OWNER,
        "kind": card.kind,
        "digest": card.digest,
    }


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _finish(deltas: Sequence[Delta]) -> str | None:
    return next((delta.finish for delta in reversed(deltas) if delta.finish), None)
