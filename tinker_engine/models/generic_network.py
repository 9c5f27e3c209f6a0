"""Any causal language model of transformers as a Network: padded batches of near-equal lengths.

Modules' `forward` is replaced once, so that they apply the adapter that is in use at the moment;
outside of a pass the model is what it was. Training batches are padded on the right: under causal
attention nothing real attends to padding, so no mask is needed. Prompts are padded on the left,
with positions and mask that say so.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tinker_engine.models.base_model import LoadedBase
from tinker_engine.numerics.adapted_linear import (
    AdaptedLinear,
    FrozenLinear,
    adapt,
    apply_linear,
)
from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.packing import Limits, Microbatch, plan_padded
from tinker_engine.runtime.records import IntArray

Adapters = Mapping[str, AdaptedLinear]


def frozen_linear(name: str, module: nn.Module) -> FrozenLinear:
    """Weight as (out, in), whichever way round the module stores it, and bias."""
    weight = cast(Tensor, module.weight)
    bias = cast("Tensor | None", getattr(module, "bias", None))
    return FrozenLinear.single(name, weight.t() if isinstance(module, Conv1D) else weight, bias)


class GenericNetwork:
    """Runs the base's own forward; `dtype` rules the adapted matrix products alone."""

    def __init__(self, base: LoadedBase) -> None:
        self._backbone = cast(Any, base.backbone)
        self._modules = dict(base.model.named_modules())
        self._head_name = base.head_name
        self._installed: set[str] = set()
        self._adapters: Adapters = {}
        self._sink: GradientSink | None = None
        self._anchor = torch.zeros((), requires_grad=True)

    def adapt(
        self, factors: Mapping[str, LoraFactors], *, dtype: torch.dtype, merge: bool
    ) -> Adapters:
        adapted: dict[str, AdaptedLinear] = {}
        for name in factors:
            if name != self._head_name:
                self._install(name)
                linear = frozen_linear(name, self._modules[name])
                adapted[name] = adapt(linear, factors, dtype=dtype, merge=merge)
        return adapted

    def plan(self, lengths: Sequence[int], limits: Limits) -> list[Microbatch]:
        return plan_padded(lengths, limits)

    def hidden(
        self, adapted: Adapters, tokens: Tensor, batch: Microbatch, sink: GradientSink | None
    ) -> Tensor:
        (group,) = batch.groups
        ids = tokens.view(group.count, group.length)
        with self.using(adapted, sink):
            hidden = self._backbone(input_ids=ids, use_cache=False).last_hidden_state
        return cast(Tensor, hidden).reshape(batch.rows, -1)

    def read(
        self, adapted: Adapters, prompts: Sequence[IntArray], capacity: int
    ) -> GenericContinuation:
        del capacity
        return GenericContinuation(self, adapted, prompts)

    def run(self, adapted: Adapters, **inputs: Any) -> Any:
        """The backbone's own output with an adapter on."""
        with self.using(adapted, None):
            return self._backbone(**inputs)

    @contextmanager
    def using(self, adapted: Adapters, sink: GradientSink | None) -> Generator[None]:
        """Let the installed modules apply `adapted`; the rest of the model stays plain."""
        self._adapters, self._sink = adapted, sink
        try:
            yield
        finally:
            self._adapters, self._sink = {}, None

    def _install(self, name: str) -> None:
        if name in self._installed:
            return
        self._installed.add(name)
        module = self._modules[name]
        plain = cast(Any, module.forward)

        def forward(x: Tensor) -> Tensor:
            linear = self._adapters.get(name)
            if linear is None:
                return cast(Tensor, plain(x))
            rows = x.reshape(-1, x.shape[-1]).to(linear.weight.dtype)
            y = apply_linear(rows, linear, self._sink, self._anchor)
            return y.to(x.dtype).view(*x.shape[:-1], y.shape[-1])

        module.forward = forward


class GenericContinuation:
    """A batch of left-padded prompts with the model's own key-value cache."""

    def __init__(
        self, network: GenericNetwork, adapted: Adapters, prompts: Sequence[IntArray]
    ) -> None:
        self._network = network
        self._adapted = adapted
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
        self._last = self._prompt_hidden[:, -1]

    @property
    def last(self) -> Tensor:
        return self._last

    def prompt_hidden(self, row: int) -> Tensor:
        return self._prompt_hidden[row, -int(self._lengths[row]) :]

    def select(self, rows: Sequence[int]) -> None:
        index = torch.tensor(rows, dtype=torch.int64)
        self._cache.batch_select_indices(index)
        self._mask = self._mask[index]
        self._lengths = self._lengths[index]
        self._last = self._last[index]

    def advance(self, tokens: Tensor) -> None:
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        output = self._network.run(
            self._adapted,
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._lengths[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._lengths = self._lengths + 1
        self._last = cast(Tensor, output.last_hidden_state)[:, -1]
