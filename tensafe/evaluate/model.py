"""What evaluation and screening need of a model; nothing here knows how it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tensafe.data.records import Message


class AnsweringModel(Protocol):
    """A base model, alone or with an adapter, asked through chat messages."""

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """One answer per prompt, in order; temperature 0 is greedy.

        Prompt i is drawn with seed + i.

        When the last message of a prompt is an assistant turn, the answer continues it; a lone
        assistant turn is plain text without a template.
        """
        ...

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[Message], str]]
    ) -> list[list[float]]:
        """Natural-log probabilities of each completion's tokens, its end token included.

        An empty prompt means plain text; its first token has no prediction and is left out.
        """
        ...
