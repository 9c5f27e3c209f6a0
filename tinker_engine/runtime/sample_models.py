"""The weights that rows of one adapter are computed with: merged into a copy, or beside the base's.

A merged copy costs one product per use and the memory of the weights; factors beside the base's
weights cost two small products more, and rows of any number of adapters share the large one. In
fp32 both give the same to rounding, so the batch decides: merged when it has one adapter. In bf16
they differ in the last bits of a weight, so the adapter's size alone decides, and a row never
depends on its neighbours. Measured in docs/design/0010-continuous-batching.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tinker_engine.runtime.training_pass import AdaptedModel

MERGE_LIMIT_BYTES = 2 << 30
# bf16 copies up to this size are always merged: a batch of many adapters has one of each.
SMALL_COPY_BYTES = 128 << 20


@dataclass(frozen=True)
class SampledModel:
    """One adapter, or the bare base; two samplers with the same `key` are the same model.

    `beside` has the factors beside the base's weights; `merge` makes a copy with them in it, which
    takes `copy_bytes` (0 for the bare base, which has nothing to merge).
    """

    key: str
    digest: str | None
    beside: AdaptedModel
    merge: Callable[[], AdaptedModel]
    copy_bytes: int


class SampledWeights:
    """Chooses and keeps merged copies, at most `MERGE_LIMIT_BYTES` beyond those in use."""

    def __init__(self) -> None:
        self._merged: OrderedDict[str, tuple[AdaptedModel, int]] = OrderedDict()

    def of(self, models: Sequence[SampledModel]) -> dict[str, AdaptedModel]:
        """Weights by key for one pass over rows of these models."""
        chosen: dict[str, AdaptedModel] = {}
        for model in models:
            is_merged = model.copy_bytes > 0 and _merges(model, is_alone=len(models) == 1)
            chosen[model.key] = self._copy(model) if is_merged else model.beside
        size = sum(size for _, size in self._merged.values())
        for key in list(self._merged):
            if size <= MERGE_LIMIT_BYTES:
                break
            if key not in chosen:
                size -= self._merged.pop(key)[1]
        return chosen

    def _copy(self, model: SampledModel) -> AdaptedModel:
        if model.key not in self._merged:
            self._merged[model.key] = (model.merge(), model.copy_bytes)
        self._merged.move_to_end(model.key)
        return self._merged[model.key][0]


def _merges(model: SampledModel, *, is_alone: bool) -> bool:
    if not model.beside.network.mixes_adapters:
        return model.copy_bytes <= MERGE_LIMIT_BYTES
    if model.beside.dtype == torch.float32:
        return is_alone and model.copy_bytes <= MERGE_LIMIT_BYTES
    return model.copy_bytes <= SMALL_COPY_BYTES
