"""How far sampler and trainer are apart: the largest difference of logprobs seen.

Sampling appends tokens one by one to cached keys and values, training passes over whole examples.
The first finished sequence of each adapter goes through the trainer's pass as well, with the same
weights, and the difference is kept for people and monitors.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch

from tinker_engine.numerics.cross_entropy import head_loss
from tinker_engine.numerics.packing import Limits
from tinker_engine.runtime.records import IntArray, SampledSequence
from tinker_engine.runtime.training_pass import AdaptedModel

LONGEST = 256
_REMEMBERED = 1024


def training_logprobs(model: AdaptedModel, tokens: IntArray) -> torch.Tensor:
    """Logprobs (T - 1,) of tokens 1 .. T - 1 by the pass that training uses."""
    (batch,) = model.network.plan([len(tokens) - 1], Limits(len(tokens), 1))
    hidden = model.hidden(torch.from_numpy(tokens[:-1]), batch, None)
    targets = torch.from_numpy(tokens[1:])
    weights = torch.zeros(len(targets))
    return head_loss(model.head, hidden, targets, weights, needs_grad=False).logprobs


class Agreement:
    """Compares one sequence of each adapter; `largest_gap` is None before the first."""

    def __init__(self) -> None:
        self.largest_gap: float | None = None
        self._seen: OrderedDict[str, None] = OrderedDict()

    def wants(self, key: str, prompt: IntArray, sequence: SampledSequence) -> bool:
        """Whether this is the first sequence of an adapter that is short enough."""
        length = len(prompt) + len(sequence.tokens)
        return key not in self._seen and len(sequence.tokens) > 0 and length <= LONGEST

    def compare(
        self, key: str, model: AdaptedModel, prompt: IntArray, sequence: SampledSequence
    ) -> float:
        """The gap of one sequence, in nats."""
        self._seen[key] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        tokens = np.concatenate([prompt, np.asarray(sequence.tokens, dtype=np.int64)])
        with torch.inference_mode():
            trained = training_logprobs(model, tokens)[len(prompt) - 1 :]
        gap = float((trained - torch.tensor(sequence.logprobs)).abs().max())
        self.largest_gap = max(gap, self.largest_gap or 0.0)
        return gap
