"""One choice of an answer, built token by token: text, tool calls, scored tokens, why it ended.

Streams and whole answers are built by the same steps, so the pieces of the one joined are the
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tinker_engine.runtime.records import TokenEvent
from tinker_engine.runtime.token_text import Piece, TextStream, Vocabulary
from tinker_engine.runtime.tool_calls import CallReader, ToolCall

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class ScoredToken:
    """A token with the model's logprob (None: the first of a prompt) and where its text begins.

    `offset` counts characters from the beginning of the choice's text.
    """

    token: int
    logprob: float | None
    top: list[tuple[int, float]] | None
    offset: int


@dataclass(frozen=True)
class Delta:
    """What a token adds to a choice."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    tokens: list[ScoredToken] = field(default_factory=list[ScoredToken])
    finish: FinishReason | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.text or self.calls or self.tokens or self.finish)


class ChoiceWriter:
    """Builds one choice.

    With `is_chat` the text is a turn by itself; with `reads_calls` tool calls are taken out of it.
    `count` is the number of tokens that the model made, hidden ones included.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        stops: Sequence[str],
        *,
        is_chat: bool = False,
        reads_calls: bool = False,
    ) -> None:
        self._vocabulary = vocabulary
        self._stream = TextStream(vocabulary, stops, is_whole=is_chat)
        self._reader = CallReader() if reads_calls else None
        self._scored: list[TokenEvent] = []
        self._has_called = False
        self.count = 0
        self.is_done = False

    def push(self, event: TokenEvent) -> Delta:
        """What one more token adds; nothing once the choice is done."""
        self.count += 1
        if self.is_done:
            return Delta()
        pieces: list[Piece] = []
        # The mark that ended the text is no part of it.
        is_mark = event.stop_reason == "stop" and self._vocabulary.is_special(event.token)
        if not is_mark:
            self._scored.append(event)
            pieces.append(self._stream.push(event.token))
        if event.stop_reason is None and not self._stream.is_cut:
            return self._delta(pieces, None)
        reason = "stop" if self._stream.is_cut else event.stop_reason
        return self._close(pieces, reason or "stop")

    def finish(self) -> Delta:
        """The end of a choice that got no token at all, or no last one."""
        return Delta() if self.is_done else self._close([], "length")

    def _close(self, pieces: list[Piece], reason: Literal["stop", "length"]) -> Delta:
        self.is_done = True
        return self._delta([*pieces, self._stream.close()], reason)

    def _delta(self, pieces: Sequence[Piece], reason: Literal["stop", "length"] | None) -> Delta:
        text = "".join(piece.text for piece in pieces)
        calls: list[ToolCall] = []
        if self._reader is not None:
            text, calls = self._reader.push(text)
            if reason is not None:
                text += self._reader.close()
        self._has_called = self._has_called or bool(calls)
        is_call = reason == "stop" and self._has_called
        tokens = [self._scored_token(*entry) for piece in pieces for entry in piece.tokens]
        return Delta(text, calls, tokens, "tool_calls" if is_call else reason)

    def _scored_token(self, place: int, offset: int) -> ScoredToken:
        event = self._scored[place]
        return ScoredToken(event.token, event.logprob, event.top_logprobs, offset)
