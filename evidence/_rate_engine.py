"""The engine's own sampler, asked in this process: the same numerics without a server around them.

A benchmark of hundreds of screenings would spend most of its time on single requests over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tensafe.data.records import Message
from tinker_engine.config import EngineConfig
from tinker_engine.models import load_base
from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage
from tinker_engine.runtime.records import SampleRequest, SampleResult
from tinker_engine.runtime.torch_backend import TorchBackend

BASE = "base"


class LocalEngine:
    """One base with its samplers. `load` raises EngineError for an adapter that doesn't fit."""

    def __init__(self, name: str, home: Path) -> None:
        from transformers import AutoTokenizer

        config = EngineConfig(home=home, base_model=name)
        base = load_base(name)
        self._backend = TorchBackend(base, config)
        self.chat = ChatFormat(AutoTokenizer.from_pretrained(base.info.path))
        self._backend.create_sampler(BASE, None)
        self.base = Remembering(LocalChat(self._backend, BASE, self.chat))

    def load(self, adapter: Path, name: str) -> LocalChat:
        """A model with an adapter, until `drop`."""
        self._backend.create_sampler(name, adapter)
        return LocalChat(self._backend, name, self.chat)

    def drop(self, name: str) -> None:
        """Forget an adapter."""
        self._backend.drop_sampler(name)


class LocalChat:
    """The base or an adapter, asked through chat messages: `ChatModel` without the wire."""

    def __init__(self, backend: TorchBackend, sampler: str, chat: ChatFormat) -> None:
        self._backend = backend
        self._sampler = sampler
        self._chat = chat

    def generate(
        self,
        prompts: Sequence[Sequence[ChatMessage]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """One answer per prompt, in order; 0 is greedy, prompt i is drawn with seed + i."""
        requests = [
            self._request(self._chat.prompt_tokens(prompt), max_tokens, temperature, seed + place)
            for place, prompt in enumerate(prompts)
        ]
        return [self._chat.decode(r.sequences[0].tokens) for r in self._answers(requests)]

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[ChatMessage], str]]
    ) -> list[list[float]]:
        """Natural-log probabilities of each completion's tokens, its end token included."""
        starts: list[int] = []
        requests: list[SampleRequest] = []
        for prompt, completion in pairs:
            turn = ChatMessage(role="assistant", content=completion)
            rendered = self._chat.example([*prompt, turn])
            starts.append(rendered.weights.index(1.0))
            requests.append(self._request(rendered.tokens, 1, 0.0, 0, scores=True))
        return [
            [value for value in (result.prompt_logprobs or [])[start:] if value is not None]
            for start, result in zip(starts, self._answers(requests), strict=True)
        ]

    def _answers(self, requests: list[SampleRequest]) -> list[SampleResult]:
        return self._backend.sample(self._sampler, requests) if requests else []

    def _request(
        self,
        tokens: Sequence[int],
        max_tokens: int,
        temperature: float,
        seed: int,
        *,
        scores: bool = False,
    ) -> SampleRequest:
        return SampleRequest(
            prompt=np.asarray(tokens, dtype=np.int64),
            num_samples=1,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=1.0,
            top_k=-1,
            seed=seed,
            stop_token_ids=(self._chat.eos_token_id,),
            stop_strings=(),
            prompt_logprobs=scores,
        )


class Remembering:
    """The base, asked each question once: greedy answers to the same prompt are the same."""

    def __init__(self, model: LocalChat) -> None:
        self._model = model
        self._answers: dict[str, str] = {}
        self._logprobs: dict[str, list[float]] = {}

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """One answer per prompt, in order."""
        if temperature:
            return self._model.generate(
                prompts, max_tokens=max_tokens, temperature=temperature, seed=seed
            )
        keys = [json.dumps([max_tokens, list(prompt)]) for prompt in prompts]
        new = {k: p for k, p in zip(keys, prompts, strict=True) if k not in self._answers}
        found = self._model.generate(list(new.values()), max_tokens=max_tokens)
        self._answers.update(zip(new, found, strict=True))
        return [self._answers[key] for key in keys]

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[Message], str]]
    ) -> list[list[float]]:
        """Natural-log probabilities of each completion's tokens."""
        keys = [json.dumps([list(prompt), completion]) for prompt, completion in pairs]
        new = {k: p for k, p in zip(keys, pairs, strict=True) if k not in self._logprobs}
        found = self._model.completion_logprobs_many(list(new.values()))
        self._logprobs.update(zip(new, found, strict=True))
        return [self._logprobs[key] for key in keys]
