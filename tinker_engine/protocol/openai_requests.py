"""Bodies of `/v1/completions` and `/v1/chat/completions`.

What would change an answer and is not served is refused by name, unless it has the value that
changes nothing; what can't change an answer is accepted and dropped; what is unknown is refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tinker_engine.errors import ParameterError

MOST_CHOICES = 128
MOST_TOP_LOGPROBS = 20

# Notes for bookkeeping, caching and billing; no answer depends on them.
_IGNORED = frozenset(
    {
        "user",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prediction",
    }
)
# Field -> values that change nothing, and what to do otherwise.
_UNSERVED: dict[str, tuple[tuple[Any, ...], str]] = {
    "presence_penalty": ((0,), "leave it out: this server samples without penalties"),
    "frequency_penalty": ((0,), "leave it out: this server samples without penalties"),
    "repetition_penalty": ((1,), "leave it out: this server samples without penalties"),
    "logit_bias": (({},), "leave it out: this server does not shift logits"),
    "best_of": ((1,), "ask for n samples and choose among them by their logprobs"),
    "suffix": (("",), "put what follows into the prompt: no base here fills in the middle"),
    "response_format": (
        ({"type": "text"},),
        "describe the form in the prompt and check the answer: this server does not enforce it",
    ),
    "functions": (([],), "use tools, which replaced it"),
    "function_call": (("none",), "use tool_choice, which replaced it"),
    "store": ((False,), "leave it out: this server stores no answers"),
    "modalities": ((["text"],), "leave it out: this server answers with text"),
    "audio": ((), "leave it out: this server answers with text"),
    "reasoning_effort": ((), "leave it out: no model here is steered by it"),
    "verbosity": ((), "leave it out: no model here is steered by it"),
    "web_search_options": ((), "leave it out: this server reaches for no network"),
}


class StreamOptions(BaseModel):
    """`stream_options`; obfuscation padding is never sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    include_usage: bool = False
    include_obfuscation: bool | None = None


class GenerationBody(BaseModel):
    """What completions and chat completions have in common; `top_k` is an extension."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: int | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_and_refuse(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kept: dict[str, Any] = {}
        for name, value in cast("dict[str, Any]", data).items():
            if name in _UNSERVED:
                neutral, advice = _UNSERVED[name]
                if value is not None and value not in neutral:
                    raise ParameterError(
                        f"{name} {_shown(value)} is not served: {advice}",
                        param=name,
                        code="unsupported_parameter",
                    )
            elif name not in _IGNORED:
                kept[name] = value
        return kept

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ParameterError("stream_options is only for stream: true", param="stream_options")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings; empty ones, which would stop nothing, are left out."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionBody(GenerationBody):
    """`/v1/completions`: one or more prompts, as text or as token ids."""

    prompt: str | list[str] | list[int] | list[list[int]]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, one by one."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        if prompt and isinstance(prompt[0], int):
            return [cast("list[int]", prompt)]
        return cast("list[str] | list[list[int]]", prompt)

    @property
    def asked_text(self) -> str:
        """What a router of adapters goes by: the prompts that are text."""
        return "\n".join(prompt for prompt in self.prompts if isinstance(prompt, str))


class ContentPart(BaseModel):
    """One part of a message's content; only text is served."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str
    text: str | None = None


class CalledFunction(BaseModel):
    """The function of a tool call; `arguments` is JSON text."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    arguments: str = "{}"


class ToolCallBody(BaseModel):
    """A tool call that an earlier answer made."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


class MessageBody(BaseModel):
    """One turn; fields that answers have and prompts don't need are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: str | None = None


class ToolBody(BaseModel):
    """A function that the model may call, handed to the chat template as it is."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: Literal["function"]
    function: dict[str, Any]


class ChatBody(GenerationBody):
    """`/v1/chat/completions`."""

    messages: Annotated[list[MessageBody], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = None
    tools: list[ToolBody] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _check_fields_together(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise ParameterError("top_logprobs needs logprobs: true", param="top_logprobs")
        if self.tool_choice not in (None, "auto", "none"):
            raise ParameterError(
                f"tool_choice {_shown(self.tool_choice)} is not served: this server can't make a "
                'model call a tool; use "auto" or "none"',
                param="tool_choice",
                code="unsupported_parameter",
            )
        if self.parallel_tool_calls is False and self.tools:
            raise ParameterError(
                "parallel_tool_calls: false is not served: this server can't keep a model from "
                "calling several tools; leave it out",
                param="parallel_tool_calls",
                code="unsupported_parameter",
            )
        return self

    @property
    def offered_tools(self) -> list[ToolBody] | None:
        """The tools that the model is told of."""
        return None if self.tool_choice == "none" else self.tools

    @property
    def asked_text(self) -> str:
        """What a router of adapters goes by: the last turn of the user."""
        for message in reversed(self.messages):
            if message.role == "user":
                parts = message.content
                if isinstance(parts, list):
                    return "\n".join(part.text or "" for part in parts)
                return parts or ""
        return ""

    @property
    def token_limit(self) -> int | None:
        """The most new tokens, by the newer name or by the older one."""
        newer = self.max_completion_tokens
        return self.max_tokens if newer is None else newer


def parameter_error(error: ValidationError) -> ParameterError:
    """The first problem of a body, as an error that names its field."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = [part for part in problem["loc"] if not _is_variant(part)]
    param = ".".join(str(part) for part in place) or None
    if problem["type"] == "extra_forbidden":
        message = f"unknown field {param!r}; this server does not know what it would change"
        return ParameterError(message, param=param, code="unknown_parameter")
    told = f"{param}: {problem['msg']}" if param else problem["msg"]
    return ParameterError(f"bad request: {told}", param=param, code="invalid_value")


def _is_variant(part: int | str) -> bool:
    """Whether a part of a place names a type that was tried, not a field."""
    return isinstance(part, str) and (part in ("str", "int") or "[" in part)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
