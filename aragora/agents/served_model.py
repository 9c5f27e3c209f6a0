"""One base model behind the SDK, with the adapters that were loaded on it.

Everything goes through the `tinker` SDK's sampling clients. Each adapter digest has one client, so
that switching between loaded adapters costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aragora.agents.models import choose_model
from aragora.errors import AgentError
from tinker_engine.recipes.chat_format import ChatFormat, ChatMessage

if TYPE_CHECKING:
    import tinker

    from tensafe.gate.load_records import RunningBase
    from tinker_engine.connection import Connection

SHORT_CONTEXT = 2048
PIECE_TOKENS = 8
_opened: dict[tuple[str | None, ...], ServedModel] = {}
_opening = threading.Lock()
_SETTINGS = ("TINKER_BASE_URL", "TINKER_API_KEY", "TINKER_BASE_MODEL", "TINKER_ENGINE_BASE_MODEL")


@dataclass(frozen=True)
class Sampled:
    """One sample: decoded text, its token ids, prompt length in tokens, why it stopped."""

    text: str
    tokens: tuple[int, ...]
    prompt_tokens: int
    stop_reason: str


class ServedModel:
    """A connected base model.

    Args:
        model: name or alias, None for the engine's default.
        engine: as `tinker_engine.connect`: "embedded", "hosted", a URL, or None to choose.

    Raises ModelNotOfferedError, UsageError, or the engine's errors.
    """

    def __init__(self, model: str | None, engine: str | None = None) -> None:
        from tinker_engine.connect import base_info, connect, connection_of, load_tokenizer

        self.service_client = connect(engine)
        self.connection: Connection = connection_of(self.service_client)
        chosen = choose_model(model, self.connection)
        own = bool(self.connection.capabilities())
        info = base_info(self.connection) if own else None
        # An alias is never recorded as if it were the base: this engine says what it really runs.
        self.name = chosen if info is None else info.name
        self.base_digest = None if info is None else info.digest
        self.max_context = None if info is None else info.max_context
        self.chat = ChatFormat(load_tokenizer(self.connection if own else self.name))
        self._samplers: dict[str | None, tinker.SamplingClient] = {}
        self._scores: dict[tuple[object, ...], asyncio.Future[float]] = {}
        self._lock = threading.Lock()

    @property
    def is_small(self) -> bool:
        """Whether the base has a short memory and few words, so that prompts must be brief."""
        return self.max_context is not None and self.max_context <= SHORT_CONTEXT

    def running(self) -> RunningBase | None:
        """The base as the load gate wants to know it; None unless the server is this engine."""
        from tensafe.gate.running import running_base

        return None if self.base_digest is None else running_base(self.connection)

    def load(self, path: str | None) -> tinker.SamplingClient:
        """The sampling client of a `tinker://` path, None for the bare base."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._load(path)
        # The SDK warns of waiting inside of an event loop; a switch of adapters is short.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._load, path).result()

    def _load(self, path: str | None) -> tinker.SamplingClient:
        with self._lock:
            client = self._samplers.get(path)
            if client is None:
                future = (
                    self.service_client.create_sampling_client(base_model=self.name)
                    if path is None
                    else self.service_client.create_sampling_client(model_path=path)
                )
                client = future.result()
                self._samplers[path] = client
            return client

    def upload(self, folder: Path) -> str:
        """Give the engine a PEFT folder; the answer is the path to `load`."""
        from tinker_engine.connect import upload_adapter

        return upload_adapter(self.connection, folder)

    def prompt_tokens(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Tokens of a prompt whose contents can't hold special tokens."""
        return self.chat.prompt_tokens(self.disarmed(messages))

    def disarmed(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Messages whose contents can't be read as special tokens."""
        return [self._disarmed(message) for message in messages]

    async def sample(
        self,
        path: str | None,
        tokens: Sequence[int],
        *,
        seed: int,
        temperature: float,
        max_tokens: int,
    ) -> Sampled:
        """One sample behind the given tokens."""
        import tinker

        client = await asyncio.to_thread(self.load, path)
        parameters = tinker.SamplingParams(
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop=[self.chat.eos_token_id],
        )
        answer = await client.sample(
            tinker.ModelInput.from_ints(list(tokens)),
            num_samples=1,
            sampling_params=parameters,
        )
        sequence = answer.sequences[0]
        return Sampled(
            self.chat.decode(sequence.tokens),
            tuple(sequence.tokens),
            len(tokens),
            str(sequence.stop_reason),
        )

    async def sample_pieces(
        self,
        path: str | None,
        tokens: Sequence[int],
        *,
        seed: int,
        temperature: float,
        max_tokens: int,
    ) -> AsyncIterator[str]:
        """One sample in pieces, each given out before the next one is computed.

        The SDK has no streaming: a few tokens are sampled at a time, each piece behind the ones
        before. At temperature 0 the pieces join to what `sample` gives.
        """
        said: list[int] = []
        given = ""
        while len(said) < max_tokens:
            piece = await self.sample(
                path,
                [*tokens, *said],
                seed=seed + len(said),
                temperature=temperature,
                max_tokens=min(PIECE_TOKENS, max_tokens - len(said)),
            )
            said.extend(piece.tokens)
            whole = self.chat.decode(said)
            is_over = piece.stop_reason == "stop" or not piece.tokens
            # A character may be split between pieces: an unfinished one waits for its end.
            ready = whole if is_over else whole.rstrip("\ufffd")
            if ready.startswith(given) and len(ready) > len(given):
                yield ready[len(given) :]
                given = ready
            if is_over:
                break

    async def logprob(
        self, path: str | None, messages: Sequence[ChatMessage], answer: str
    ) -> tuple[float, int]:
        """Natural-log probability of an answer and its end token, and how many tokens were read.

        An answer that doesn't fit into the model's context has none: minus infinity.
        """
        import tinker

        turn = ChatMessage(role="assistant", content=answer)
        rendered = self.chat.example([self._disarmed(m) for m in (*messages, turn)])
        if self.max_context is not None and len(rendered.tokens) > self.max_context:
            return float("-inf"), 0
        start = rendered.weights.index(1.0)
        client = await asyncio.to_thread(self.load, path)

        async def score() -> float:
            values: list[Any] = list(
                await client.compute_logprobs(tinker.ModelInput.from_ints(list(rendered.tokens)))
            )
            known = [float(v) for v in values[start:] if v is not None]
            if not known:
                raise AgentError(f"{self.name} gave no likelihoods for an answer")
            return sum(known)

        # Debaters of one model ask for the same likelihoods at the same time.
        key = (asyncio.get_running_loop(), path, rendered.tokens, start)
        asked = self._scores.get(key)
        if asked is None:
            asked = self._scores[key] = asyncio.ensure_future(score())
            asked.add_done_callback(lambda _: self._scores.pop(key, None))
        return await asyncio.shield(asked), len(rendered.tokens)

    def _disarmed(self, message: ChatMessage) -> ChatMessage:
        content = message["content"]
        special: list[str] = list(self.chat.tokenizer.all_special_tokens)
        for mark in special:
            while mark and mark in content:
                content = content.replace(mark, mark[:1] + "\u2009" + mark[1:])
        return ChatMessage(role=message["role"], content=content)


def served_model(model: str | None, engine: str | None = None) -> ServedModel:
    """A ServedModel that all agents of this process with the same settings share."""
    key = (model, engine, *(os.environ.get(name) for name in _SETTINGS))
    with _opening:
        found = _opened.get(key)
        if found is None or found.connection.is_closed:
            found = _opened[key] = ServedModel(model, engine)
        return found
