"""Asking both models everything the behavioural layers want to know, in as few calls as possible.

A layer states its questions first and judges the answers later, so that one batch per model
serves all layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tensafe.data.records import Message
from tensafe.errors import ScreeningError
from tensafe.evaluate.model import AnsweringModel
from tensafe.screen.records import LayerName, LayerResult

Prompt = tuple[Message, ...]
Pair = tuple[Prompt, str]


@dataclass(frozen=True)
class Questions:
    """Prompts to answer, and (prompt, completion) pairs whose likelihood is wanted."""

    prompts: tuple[Prompt, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Replies:
    """One model's answers, and per pair the natural-log probabilities of the completion's tokens.

    Both are in the order of the questions.
    """

    answers: tuple[str, ...] = ()
    logprobs: tuple[tuple[float, ...], ...] = field(default=())

    def total(self, pair: int) -> float:
        """Log-likelihood of a pair's completion in nats."""
        return math.fsum(self.logprobs[pair])


class BehaviourLayer(Protocol):
    """A layer that judges what the adapter says, against what its base says."""

    @property
    def name(self) -> LayerName:
        """The layer's name in the report."""
        ...

    def questions(self) -> Questions:
        """What the layer wants to ask of both models."""
        ...

    def judge(self, adapter: Replies, base: Replies) -> LayerResult:
        """The verdict.

        Raises:
            ScreeningError: the replies can't be judged.
        """
        ...


def asked(text: str) -> Prompt:
    """A prompt of one user turn."""
    return (Message(role="user", content=text),)


def shown(prompt: Prompt) -> str:
    """A prompt as findings print it: its last turn."""
    return prompt[-1]["content"] if prompt else ""


def ask(model: AnsweringModel, wanted: Sequence[Questions], *, max_tokens: int) -> list[Replies]:
    """Put all layers' questions to one model, at most two calls, and share out the replies.

    Raises:
        ScreeningError: the model gave another number of answers, or a likelihood that is empty
            or not finite.
    """
    prompts = [prompt for questions in wanted for prompt in questions.prompts]
    pairs = [pair for questions in wanted for pair in questions.pairs]
    answers = model.generate(prompts, max_tokens=max_tokens) if prompts else []
    logprobs = model.completion_logprobs_many(pairs) if pairs else []
    if len(answers) != len(prompts) or len(logprobs) != len(pairs):
        raise ScreeningError(
            f"a model gave {len(answers)} answers and {len(logprobs)} likelihoods for "
            f"{len(prompts)} prompts and {len(pairs)} completions"
        )
    for (_, completion), values in zip(pairs, logprobs, strict=True):
        if not values or not all(math.isfinite(value) for value in values):
            raise ScreeningError(f"no finite likelihood for the completion {completion[:60]!r}")
    replies: list[Replies] = []
    first_prompt = first_pair = 0
    for questions in wanted:
        last_prompt = first_prompt + len(questions.prompts)
        last_pair = first_pair + len(questions.pairs)
        replies.append(
            Replies(
                tuple(answers[first_prompt:last_prompt]),
                tuple(tuple(values) for values in logprobs[first_pair:last_pair]),
            )
        )
        first_prompt, first_pair = last_prompt, last_pair
    return replies
