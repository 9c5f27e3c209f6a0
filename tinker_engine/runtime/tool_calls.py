"""Tool calls in what a model writes, in the one form that templates document themselves.

Templates of the Hermes kind (Qwen's, too) tell the model to write `<tool_call>`, a JSON object with
`name` and `arguments`, and `</tool_call>`. Only where the base's template names these marks are
they looked for. Anything that isn't exactly such a call stays text.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any, cast

OPEN, CLOSE = "<tool_call>", "</tool_call>"


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True)
class ToolCall:
    """One call; `arguments` is JSON text, as clients expect it."""

    name: str
    arguments: str
    id: str = field(default_factory=_new_id)


def has_call_marks(template: str) -> bool:
    """Whether a chat template documents the form that is read here."""
    return OPEN in template and CLOSE in template


class CallReader:
    """Splits a growing text into text and calls; what may become a call is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._has_called = False

    def push(self, text: str) -> tuple[str, list[ToolCall]]:
        """The text and the calls that `text` completes, in their order."""
        self._held += text
        shown: list[str] = []
        calls: list[ToolCall] = []
        while (start := self._held.find(OPEN)) >= 0:
            end = self._held.find(CLOSE, start)
            if end < 0:
                break
            stop = end + len(CLOSE)
            call = _parse(self._held[start + len(OPEN) : end])
            before = self._held[:start]
            if call is None:
                shown.append(self._held[:stop])
            else:
                # Line breaks around calls belong to their form, not to the answer.
                shown.append(before.rstrip() if self._has_called else before.rstrip("\n"))
                calls.append(call)
                self._has_called = True
            self._held = self._held[stop:]
        free = start if start >= 0 else len(self._held) - _open_end(self._held)
        shown.append(self._free(free))
        return "".join(shown), calls

    def close(self) -> str:
        """What was held back and became no call."""
        rest, self._held = self._held, ""
        return "" if self._has_called and not rest.strip() else rest

    def _free(self, count: int) -> str:
        text = self._held[:count]
        # Blanks are shown with what follows them, for they may stand before a call.
        keep = len(text) - len(text.rstrip())
        text = text[: len(text) - keep]
        self._held = self._held[len(text) :]
        return text


def _open_end(text: str) -> int:
    """How many characters at the end could be the beginning of the opening mark."""
    for size in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if OPEN.startswith(text[-size:]):
            return size
    return 0


def _parse(text: str) -> ToolCall | None:
    try:
        content: Any = json.loads(text)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    call = cast("dict[str, Any]", content)
    name, arguments = call.get("name"), call.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False))
