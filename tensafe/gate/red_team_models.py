"""Models for a red team: adapters as files, asked through the SDK of the engine that would carry
them, without touching any slot.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tensafe.data.records import Message
from tensafe.evaluate.model import AnsweringModel

if TYPE_CHECKING:
    from tinker_engine.connect import Connection

Route = Callable[[str], str]
# Uploaded adapters are kept by the engine for a day; sampling clients for as long as they are used.
_MOST_KEPT = 12


class RedTeamModels:
    """Sampling clients by adapter digest; the bare base is the digest of the base."""

    def __init__(self, engine: Connection) -> None:
        from tinker_engine.connect import base_info, load_tokenizer
        from tinker_engine.recipes.chat_format import ChatFormat

        self._engine = engine
        self._chat = ChatFormat(load_tokenizer(engine))
        self._base = base_info(engine)
        self._kept: OrderedDict[str, AnsweringModel] = OrderedDict()

    def base(self) -> AnsweringModel:
        """The bare base."""
        return self._kept_or("base", lambda: self._model(None))

    def adapter(self, key: str, folder: Path) -> AnsweringModel:
        """The adapter in a PEFT folder; `key` names weights and configuration."""
        return self._kept_or(key, lambda: self._model(folder))

    def _kept_or(self, key: str, make: Callable[[], AnsweringModel]) -> AnsweringModel:
        model = self._kept.pop(key, None) or make()
        self._kept[key] = model
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return model

    def _model(self, folder: Path | None) -> AnsweringModel:
        from tinker_engine.connect import upload_adapter
        from tinker_engine.recipes.chat_model import ChatModel

        service = self._engine.service_client
        if folder is None:
            client = service.create_sampling_client(base_model=self._base.name).result()
            return ChatModel(client, self._chat, self._base.name)
        path = upload_adapter(self._engine, folder)
        client = service.create_sampling_client(model_path=path).result()
        return ChatModel(client, self._chat, folder.name)


class RoutedModel:
    """A gated set as one model: every prompt is answered by the member that the router picks.

    What is routed by is the last user turn, as the engine does for a chat.
    """

    def __init__(self, members: dict[str, AnsweringModel], route: Route) -> None:
        self._members = members
        self._route = route

    def generate(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """One answer per prompt, in order."""
        answers = [""] * len(prompts)
        for digest, places in self._places(prompts).items():
            given = self._members[digest].generate(
                [prompts[i] for i in places],
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
            )
            for place, answer in zip(places, given, strict=True):
                answers[place] = answer
        return answers

    def completion_logprobs_many(
        self, pairs: Sequence[tuple[Sequence[Message], str]]
    ) -> list[list[float]]:
        """Log-likelihoods of completions, each by the member that its prompt goes to."""
        found: list[list[float]] = [[] for _ in pairs]
        for digest, places in self._places([prompt for prompt, _ in pairs]).items():
            given = self._members[digest].completion_logprobs_many([pairs[i] for i in places])
            for place, values in zip(places, given, strict=True):
                found[place] = values
        return found

    def _places(self, prompts: Sequence[Sequence[Message]]) -> dict[str, list[int]]:
        places: dict[str, list[int]] = defaultdict(list)
        for place, prompt in enumerate(prompts):
            asked = [turn["content"] for turn in prompt if turn["role"] == "user"]
            places[self._route(asked[-1] if asked else "")].append(place)
        return places
