"""Asking both models everything the behavioural layers want to know, in as few calls as possible.

A layer states its questions first and judges the answers later, so that one batch per model
serves all layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from tensafe.data.records import Message
from tensafe.errors import ScreeningError
from tensafe.evaluate.model import AnsweringModel
from tensafe.screen.records import LayerName, LayerResult

Prompt = tuple[Message, ...]
Pair = tuple[Prompt, str]
# Fixed, so that a screening can be repeated.
_SEED = 20_250


@dataclass(frozen=True)
class Questions:
    """Prompts to answer, greedily and at temperature 1, and pairs whose likelihood is wanted."""

    prompts: tuple[Prompt, ...] = ()
    pairs: tuple[Pair, ...] = ()
    sampled: tuple[Prompt, ...] = ()


@dataclass(frozen=True)
class Replies:
    """One model's answers, and per pair the natural-log probabilities of the completion's tokens.

    Both are in the order of the questions.
    """

    answers: tuple[str, ...] = ()
    logprobs: tuple[tuple[float, ...], ...] = field(default=())
    sampled: tuple[str, ...] = ()

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
    """Put all layers' questions to one model, at most three calls, and share out the replies.

    Raises:
        ScreeningError: the model gave another number of answers, or a likelihood that is empty
            or not finite.
    """
    prompts = [prompt for questions in wanted for prompt in questions.prompts]
    sampled = [prompt for questions in wanted for prompt in questions.sampled]
    pairs = [pair for questions in wanted for pair in questions.pairs]
    greedy = model.generate(prompts, max_tokens=max_tokens) if prompts else []
    drawn = (
        model.generate(sampled, max_tokens=max_tokens, temperature=1.0, seed=_SEED)
        if sampled
        else []
    )
    logprobs = model.completion_logprobs_many(pairs) if pairs else []
    if (len(greedy), len(drawn), len(logprobs)) != (len(prompts), len(sampled), len(pairs)):
        raise ScreeningError(
            f"a model gave {len(greedy) + len(drawn)} answers and {len(logprobs)} likelihoods for "
            f"{len(prompts) + len(sampled)} prompts and {len(pairs)} completions"
        )
    for (_, completion), values in zip(pairs, logprobs, strict=True):
        if not values or not all(math.isfinite(value) for value in values):
            raise ScreeningError(f"no finite likelihood for the completion {completion[:60]!r}")
    answers, scores, draws = iter(greedy), iter(logprobs), iter(drawn)
    return [
        Replies(
            tuple(islice(answers, len(questions.prompts))),
            tuple(tuple(values) for values in islice(scores, len(questions.pairs))),
            tuple(islice(draws, len(questions.sampled))),
        )
        for questions in wanted
    ]
