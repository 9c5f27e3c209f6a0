"""What training and sampling need of a decoder, whichever way it computes.

Hidden states are those after the final norm, before the output head. Adapters are applied through
the network's `slot`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from tinker_engine.numerics.adapted_linear import AdapterSlot
from tinker_engine.numerics.lora import FrozenLinear
from tinker_engine.numerics.packing import Limits, Microbatch
from tinker_engine.runtime.records import IntArray


class Continuation(Protocol):
    """Prompts that were read and can be continued token by token, one row each."""

    @property
    def last(self) -> Tensor:
        """Hidden states (B, D) from which the next token of each row is predicted."""
        ...

    def prompt_hidden(self, row: int) -> Tensor:
        """Hidden states (T, D) of a row's whole prompt; only before the first `advance`."""
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may be repeated."""
        ...

    def advance(self, tokens: Tensor) -> None:
        """Append one token (B,) to each row and renew `last`."""
        ...


class Network(Protocol):
    """A frozen decoder with a slot for one adapter at a time."""

    @property
    def slot(self) -> AdapterSlot:
        """Where adapters and gradient sinks are put in."""
        ...

    @property
    def hidden_size(self) -> int:
        """D."""
        ...

    def linears(self, names: Sequence[str]) -> Mapping[str, FrozenLinear]:
        """The base's linear maps by module name, made ready for adapters."""
        ...

    def plan(self, lengths: Sequence[int], limits: Limits) -> list[Microbatch]:
        """Microbatches in the layout that `hidden` takes."""
        ...

    def hidden(self, tokens: Tensor, batch: Microbatch, dtype: torch.dtype) -> Tensor:
        """Hidden states (rows, D) of token ids (rows,); each example sees only itself."""
        ...

    def read(self, prompts: Sequence[IntArray], capacity: int, dtype: torch.dtype) -> Continuation:
        """Read prompts as one batch, with room for `capacity` more tokens each."""
        ...
