"""Any causal language model of transformers as a Network: padded batches of near-equal lengths.

Training batches are padded on the right: under causal attention nothing real attends to padding,
so no mask is needed. Prompts are padded on the left, with positions and mask that say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from tinker_engine.models.base_model import LoadedBase
from tinker_engine.numerics.adapted_linear import AdapterSlot, frozen_linear
from tinker_engine.numerics.lora import FrozenLinear
from tinker_engine.numerics.packing import Limits, Microbatch, plan_padded
from tinker_engine.runtime.records import IntArray


class GenericNetwork:
    """Runs the base's own forward; `dtype` rules the adapted matrix products alone."""

    def __init__(self, base: LoadedBase) -> None:
        self._backbone = cast(Any, base.backbone)
        self._modules = dict(base.model.named_modules())
        self._head_name = base.head_name
        self._hidden_size = int(base.head_weight.shape[1])
        self._slot = AdapterSlot()

    @property
    def slot(self) -> AdapterSlot:
        return self._slot

    @property
    def hidden_size(self) -> int:
        return self._hidden_size

    def linears(self, names: Sequence[str]) -> Mapping[str, FrozenLinear]:
        for name in names:
            # The head is applied in chunks by the caller, never through its own forward.
            if name != self._head_name:
                self._slot.install(name, self._modules[name])
        return {name: frozen_linear(self._modules[name]) for name in names}

    def plan(self, lengths: Sequence[int], limits: Limits) -> list[Microbatch]:
        return plan_padded(lengths, limits)

    def hidden(self, tokens: Tensor, batch: Microbatch, dtype: torch.dtype) -> Tensor:
        del dtype
        (group,) = batch.groups
        ids = tokens.view(group.count, group.length)
        hidden = self._backbone(input_ids=ids, use_cache=False).last_hidden_state
        return cast(Tensor, hidden).reshape(batch.rows, self._hidden_size)

    def read(self, prompts: Sequence[IntArray], capacity: int, dtype: torch.dtype) -> GenericContinuation:
        del capacity, dtype
        return GenericContinuation(self._backbone, prompts)


class GenericContinuation:
    """A batch of left-padded prompts with the model's own key-value cache."""

    def __init__(self, backbone: Any, prompts: Sequence[IntArray]) -> None:
        self._backbone = backbone
        self._lengths = torch.tensor([len(p) for p in prompts])
        width = int(self._lengths.max())
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        self._mask = torch.zeros(len(prompts), width, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.from_numpy(prompt)
            self._mask[row, width - len(prompt) :] = 1
        positions = (self._mask.cumsum(dim=1) - 1).clamp_(min=0)
        output = backbone(
            input_ids=ids, attention_mask=self._mask, position_ids=positions, use_cache=True
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
        output = self._backbone(
            input_ids=tokens[:, None],
            attention_mask=self._mask,
            position_ids=self._lengths[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._lengths = self._lengths + 1
        self._last = cast(Tensor, output.last_hidden_state)[:, -1]
