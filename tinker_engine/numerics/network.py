"""What training and sampling need of a decoder, whichever way it computes.

Hidden states are those after the final norm, before the output head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.packing import Limits, Microbatch
from tinker_engine.runtime.records import IntArray


class Continuation(Protocol):
    """Prompts that were read and can be continued token by token, one row each."""

    @property
    def last(self) -> Tensor:
        """Hidden states (B, D) from which the next token of each row is predicted."""
        ...

    def prompt_hidden(self, row: int) -> Tensor:
        """Hidden states (T, D) of a row's whole prompt; only before `select` and `advance`."""
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; a row may be repeated."""
        ...

    def advance(self, tokens: Tensor) -> None:
        """Append one token (B,) to each row and renew `last`."""
        ...


class Network(Protocol):
    """A frozen decoder that runs with any adapter put on it."""

    def adapt(self, factors: Mapping[str, LoraFactors], *, dtype: torch.dtype, merge: bool) -> Any:
        """The decoder's weights with an adapter, ready for passes in `dtype`.

        Opaque to callers, immutable, and independent of later changes to the factors. Modules of
        the output head are left out: the head is the caller's.
        """
        ...

    def plan(self, lengths: Sequence[int], limits: Limits) -> list[Microbatch]:
        """Microbatches in the layout that `hidden` takes."""
        ...

    def hidden(
        self, adapted: Any, tokens: Tensor, batch: Microbatch, sink: GradientSink | None
    ) -> Tensor:
        """Hidden states (rows, D) of token ids (rows,); each example sees only itself.

        With a sink, a backward pass from the result feeds it.
        """
        ...

    def read(self, adapted: Any, prompts: Sequence[IntArray], capacity: int) -> Continuation:
        """Read prompts as one batch, with room for `capacity` more tokens each."""
        ...
