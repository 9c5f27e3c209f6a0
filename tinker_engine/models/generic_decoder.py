"""Continuing rows with a model's own forward and key-value cache.

Such a cache holds rows of one length only, so prompts that are read together stay together as one
cohort, padded on the left, with positions and mask that say so; each step runs every cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from tinker_engine.numerics.network import Piece
from tinker_engine.runtime.records import IntArray


class CachingNetwork(Protocol):
    """What runs a model's own forward with its cache."""

    @property
    def position_bytes(self) -> int:
        """Keys and values of one token in fp32."""
        ...

    def run(self, adapted: Any, **inputs: Any) -> Any:
        """The backbone's own output with an adapter on."""
        ...


@dataclass
class GenericPrompt:
    """A prompt, and once it is read, its place in a cohort."""

    tokens: IntArray
    read: int = 0
    cohort: _Cohort | None = None
    place: int = 0

    @property
    def size_bytes(self) -> int:
        """What is cached belongs to the cohort."""
        return 0


class GenericDecoder:
    """Implements `tinker_engine.numerics.network.Decoder`."""

    piece_tokens: int | None = None

    def __init__(self, network: CachingNetwork) -> None:
        self._network = network
        self._cohorts: list[tuple[str, _Cohort]] = []

    def bytes_for(self, positions: int) -> int:
        return self._network.position_bytes * positions

    def begin(self, tokens: IntArray, source: Any | None, shared: int) -> GenericPrompt:
        del source, shared
        return GenericPrompt(tokens)

    def read(self, pieces: Sequence[Piece], weights: Mapping[str, Any]) -> list[Tensor]:
        cohorts: dict[str, _Cohort] = {}
        for key in dict.fromkeys(piece.key for piece in pieces):
            prompts: list[GenericPrompt] = [p.prompt for p in pieces if p.key == key]
            cohorts[key] = _Cohort(self._network, weights[key], [p.tokens for p in prompts])
            for place, prompt in enumerate(prompts):
                prompt.cohort, prompt.place, prompt.read = cohorts[key], place, len(prompt.tokens)
        self._cohorts.extend(cohorts.items())
        found = [cohorts[piece.key].prompt_hidden(piece.prompt.place) for piece in pieces]
        return [
            hidden if piece.wants_all else hidden[-1:]
            for piece, hidden in zip(pieces, found, strict=True)
        ]

    def add(self, key: str, prompt: GenericPrompt, rows: Sequence[int], room: int) -> None:
        del key, room
        if prompt.cohort is not None:
            prompt.cohort.add(prompt.place, rows)

    def spans(self) -> list[tuple[str, list[int]]]:
        self._cohorts = [(key, cohort) for key, cohort in self._cohorts if cohort.rows]
        return [(key, list(cohort.rows)) for key, cohort in self._cohorts]

    def advance(self, tokens: Tensor, weights: Mapping[str, Any]) -> Tensor:
        going = [(key, cohort) for key, cohort in self._cohorts if cohort.rows]
        parts = tokens.split([len(cohort.rows) for _, cohort in going])
        hidden = [
            cohort.advance(weights[key], part)
            for (key, cohort), part in zip(going, parts, strict=True)
        ]
        return torch.cat(hidden)

    def drop(self, rows: Sequence[int], *, wipe: bool = False) -> None:
        del wipe
        for _, cohort in self._cohorts:
            cohort.drop(rows)

    def keep(self, row: int, tokens: IntArray) -> GenericPrompt | None:
        del row, tokens
        return None


class _Cohort:
    """Left-padded prompts of one adapter with the model's own key-value cache."""

    def __init__(self, network: CachingNetwork, adapted: Any, prompts: Sequence[IntArray]) -> None:
        self._network = network
        self.rows: list[int] = []
        self._taken: list[int] = []
        self._lengths = torch.tensor([len(p) for p in prompts])
        width = int(self._lengths.max())
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        self._mask = torch.zeros(len(prompts), width, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.from_numpy(prompt)
            self._mask[row, width - len(prompt) :] = 1
        positions = (self._mask.cumsum(dim=1) - 1).clamp_(min=0)
        output = network.run(
            adapted,
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            use_cache=True,
        )
        self._cache = output.past_key_values
        self._prompt_hidden = cast(Tensor, output.last_hidden_state)

    def prompt_hidden(self, place: int) -> Tensor:
        """Hidden states (T, D) of a whole prompt; only before the first `advance`."""
        return self._prompt_hidden[place, -int(self._lengths[place]) :]

    def add(self, place: int, rows: Sequence[int]) -> None:
        """Continue the prompt at a place as these rows."""
        self.rows.extend(rows)
        self._taken.extend([place] * len(rows))

    def drop(self, rows: Sequence[int]) -> None:
        """Leave out rows."""
        going = [k for k, row in enumerate(self.rows) if row not in rows]
        if len(going) == len(self.rows):
            return
        self.rows = [self.rows[k] for k in going]
        if self._taken:
            self._taken = [self._taken[k] for k in going]
        elif going:
            self._select(going)

    def _select(self, rows: Sequence[int]) -> None:
        index = torch.tensor(rows, dtype=torch.int64)
        self._cache.batch_select_indices(index)
        self._mask = self._mask[index]
        self._lengths = self._lengths[index]

    def advance(self, adapted: Any, tokens: Tensor) -> Tensor:
        """Append a token (B,) to each row; hidden states (B, D)."""
        if self._taken:
            self._select(self._taken)
            self._taken = []
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        output = self._network.run(
            adapted,
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._lengths[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._lengths = self._lengths + 1
        return cast(Tensor, output.last_hidden_state)[:, -1]
