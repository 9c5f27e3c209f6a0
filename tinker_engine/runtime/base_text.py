"""Text in and out of one base: its tokenizer and chat template, for threads that serve requests."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from tinker_engine.protocol.openai_requests import MessageBody, ToolBody
from tinker_engine.runtime.chat_prompts import ChatPrompts
from tinker_engine.runtime.records import IntArray
from tinker_engine.runtime.token_text import Vocabulary
from tinker_engine.runtime.tool_calls import has_call_marks


class BaseText:
    """A copy of the tokenizer: the compute thread uses its own, and one is not for two threads."""

    def __init__(self, tokenizer: Any) -> None:
        from tinker_engine.recipes.chat_format import PLAIN_TEMPLATE

        self._tokenizer = copy.deepcopy(tokenizer)
        # What is too long is refused with numbers; a warning in the log would only repeat it.
        self._tokenizer.model_max_length = sys.maxsize
        self._lock = threading.Lock()
        self.vocabulary = Vocabulary(self._tokenizer)
        template = str(self._tokenizer.chat_template or PLAIN_TEMPLATE)
        self._chat = ChatPrompts(self._tokenizer, template)
        self.writes_calls = has_call_marks(template)

    def prompt(self, text: str) -> IntArray:
        """Tokens of a plain prompt, with what the tokenizer puts before every text."""
        with self._lock:
            return _ids(self._tokenizer.encode(text))

    def chat_prompt(
        self, messages: Sequence[MessageBody], tools: Sequence[ToolBody] | None
    ) -> IntArray:
        """Tokens after which the assistant's answer begins; raises ParameterError."""
        with self._lock:
            text = self._chat.render(messages, tools)
            # The template writes the marks itself; added ones would stand there twice.
            return _ids(self._tokenizer.encode(text, add_special_tokens=False))


def _ids(tokens: Any) -> IntArray:
    return np.asarray(cast("list[int]", tokens), dtype=np.int64)
