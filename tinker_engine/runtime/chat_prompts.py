"""Messages and tools as the base's own chat template writes them.

A template that leaves something out that it was given (tools, or the turns that use them) would
make a model answer another conversation, so such a request is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from jinja2 import TemplateError

from tinker_engine.errors import ParameterError
from tinker_engine.protocol.openai_requests import MessageBody, ToolBody

Message = dict[str, Any]


class ChatPrompts:
    """A tokenizer with the template that training renders with, too."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self._tokenizer = tokenizer
        self.template = template

    def render(
        self, messages: Sequence[MessageBody], tools: Sequence[ToolBody] | None = None
    ) -> str:
        """The text after which the assistant's answer begins.

        Raises ParameterError for content that isn't text, for a conversation that the template
        refuses, and for tools that it has no place for.
        """
        turns = [_message(body, place) for place, body in enumerate(messages)]
        self._check_tool_turns(turns)
        if not tools:
            return self._apply(turns, None)
        described = [tool.model_dump() for tool in tools]
        text = self._apply(turns, described)
        if text == self._apply(turns, None):
            raise ParameterError(
                "tools are not served: the chat template of this base has no place for them; "
                "describe them in a message, or use a base whose template renders tools",
                param="tools",
                code="unsupported_parameter",
            )
        return text

    def _apply(self, turns: list[Message], tools: list[dict[str, Any]] | None) -> str:
        try:
            return cast(
                str,
                self._tokenizer.apply_chat_template(
                    turns,
                    tools=tools,
                    chat_template=self.template,
                    add_generation_prompt=True,
                    tokenize=False,
                ),
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise ParameterError(
                f"the chat template of this base can't render the messages: {error}",
                param="messages",
            ) from error

    def _check_tool_turns(self, turns: Sequence[Message]) -> None:
        for place, turn in enumerate(turns):
            has_calls = "tool_calls" in turn
            needed = "tool_calls" if has_calls else "tool" if turn["role"] == "tool" else None
            if needed is not None and needed not in self.template:
                what = "tool calls" if has_calls else "answers of tools"
                raise ParameterError(
                    f"messages.{place}: the chat template of this base has no place for {what}; "
                    "write them as text of a user or assistant turn",
                    param=f"messages.{place}",
                    code="unsupported_parameter",
                )


def _message(body: MessageBody, place: int) -> Message:
    turn: Message = {
        # OpenAI's newer name for instructions; templates know the older one.
        "role": "system" if body.role == "developer" else body.role,
        "content": _text(body, place),
    }
    if body.name is not None:
        turn["name"] = body.name
    if body.tool_call_id is not None:
        turn["tool_call_id"] = body.tool_call_id
    if body.tool_calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {
                    "name": call.function.name,
                    "arguments": _arguments(call.function.arguments, place),
                },
            }
            for call in body.tool_calls
        ]
    return turn


def _text(body: MessageBody, place: int) -> str:
    if body.content is None:
        if body.role == "assistant" and body.tool_calls:
            return ""
        raise ParameterError(
            f"messages.{place}: the {body.role} turn has no content; expected a string",
            param=f"messages.{place}.content",
        )
    if isinstance(body.content, str):
        return body.content
    for number, part in enumerate(body.content):
        if part.type != "text" or part.text is None:
            raise ParameterError(
                f"messages.{place}.content.{number} is of type {part.type!r}; only text is served",
                param=f"messages.{place}.content",
                code="unsupported_parameter",
            )
    return "".join(part.text or "" for part in body.content)


def _arguments(text: str, place: int) -> Any:
    """Templates expect the arguments as an object, clients send them as JSON text."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ParameterError(
            f"messages.{place}: the arguments of a tool call are not JSON: {error}",
            param=f"messages.{place}.tool_calls",
        ) from error
