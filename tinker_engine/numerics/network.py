"""What training and sampling need of a decoder, whichever way it computes.

Hidden states are those after the final norm, before the output head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.packing import Limits, Microbatch
from tinker_engine.runtime.records import IntArray


class Prompt(Protocol):
    """A prompt that is being read, or has been: its first `read` tokens are cached."""

    tokens: IntArray
    read: int

    @property
    def size_bytes(self) -> int:
        """Memory of what is cached."""
        ...


@dataclass(frozen=True)
class Piece:
    """The next tokens of a prompt, up to `stop`, read with the model `key`.

    `wants_all` asks for the hidden states of all of them, else those of the last suffice.
    """

    prompt: Any
    key: str
    stop: int
    wants_all: bool

    @property
    def length(self) -> int:
        """How many tokens."""
        return self.stop - self.prompt.read


class Decoder(Protocol):
    """Rows of any number of adapters, each with its own length, that grow token by token.

    Models go by a key; `weights` gives what each is computed with in this call. A row is known by
    a number of the caller's. What a row gets does not depend on which others are there.
    """

    piece_tokens: int | None
    """Longest piece that `read` takes, which ends at a multiple of it; None: whole prompts."""

    def bytes_for(self, positions: int) -> int:
        """Memory of a row of this many tokens."""
        ...

    def begin(self, tokens: IntArray, source: Any | None, shared: int) -> Any:
        """A prompt to read; its first `shared` tokens are taken from `source`."""
        ...

    def read(self, pieces: Sequence[Piece], weights: Mapping[str, Any]) -> list[Tensor]:
        """Read one piece of each prompt; hidden states (T, D), or (1, D), of each."""
        ...

    def add(self, key: str, prompt: Any, rows: Sequence[int], room: int) -> None:
        """Start rows behind a prompt that was read; each may get `room` more tokens.

        Where `piece_tokens` is None, all rows of a prompt are added before the next `advance`.
        """
        ...

    def spans(self) -> list[tuple[str, list[int]]]:
        """The rows of each key, in the order that `advance` takes them."""
        ...

    def advance(self, tokens: Tensor, weights: Mapping[str, Any]) -> Tensor:
        """Append one token (B,) to every row; hidden states (B, D)."""
        ...

    def drop(self, rows: Sequence[int], *, wipe: bool = False) -> None:
        """Free rows; a number that isn't here is ignored. `wipe` those that may not be finite."""
        ...

    def keep(self, row: int, tokens: IntArray) -> Any | None:
        """A copy of a row as a prompt that was read, `tokens` being what it holds; None: can't."""
        ...


class Share(NamedTuple):
    """One run's part of a microbatch: its adapter (not merged), its rows and its sink."""

    adapted: Any
    rows: slice
    sink: GradientSink


class Network(Protocol):
    """A frozen decoder that runs with any adapter put on it.

    `recompute_rows`: layers of a training microbatch with more rows than this keep their inputs
    alone and compute the rest again on the way back.
    """

    recompute_rows: int

    mixes_adapters: bool
    """Whether rows of several adapters share their products with the base's weights."""

    def adapt(
        self,
        factors: Mapping[str, LoraFactors],
        *,
        dtype: torch.dtype,
        merge: bool,
        shared: Any | None = None,
    ) -> Any:
        """The decoder's weights with an adapter, ready for passes in `dtype`.

        Opaque to callers, immutable, and independent of later changes to the factors. Modules of
        the output head are left out: the head is the caller's. Without `merge`, `shared` is what
        this gave for the bare base in the same dtype, whose weights are then used again.
        """
        ...

    def join(self, shares: Sequence[Share]) -> Any:
        """One adapted decoder for a microbatch of several runs; `hidden` feeds each share its sink.

        All were adapted in the same dtype with `merge` off.
        """
        ...

    def plan(
        self,
        lengths: Sequence[int],
        limits: Limits,
        owners: Sequence[int] | None = None,
        units: Sequence[int] | None = None,
    ) -> list[Microbatch]:
        """Microbatches in the layout that `hidden` takes.

        With `owners` (one number per example), the examples of one owner follow each other; with
        `units`, those of one unit are in the same microbatch.
        """
        ...

    def hidden(
        self, adapted: Any, tokens: Tensor, batch: Microbatch, sink: GradientSink | None
    ) -> Tensor:
        """Hidden states (rows, D) of token ids (rows,); each example sees only itself.

        With a sink, a backward pass from the result feeds it.
        """
        ...

    def decoder(self, dtype: torch.dtype) -> Decoder:
        """An empty decoder that keeps keys and values in `dtype`, where that is its choice."""
        ...
