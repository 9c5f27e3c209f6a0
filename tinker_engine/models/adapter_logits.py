"""Logits of a base with an adapter's factors on it, computed in fp32 by the base's own forward.

For comparing what adapters compute: nothing is merged and nothing is rounded to a lower precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from tinker_engine.errors import ModelLoadError
from tinker_engine.models.adapter_files import AdapterConfig
from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.generic_network import GenericNetwork, frozen_linear
from tinker_engine.models.targets import linear_modules, resolve_targets
from tinker_engine.numerics.adapted_linear import adapt
from tinker_engine.numerics.cross_entropy import OutputHead
from tinker_engine.numerics.lora import LoraFactors

Factors = Mapping[str, tuple[Tensor, Tensor]]


class AdapterLogits:
    """Runs one base with one adapter after the other."""

    def __init__(self, base: LoadedBase) -> None:
        self._base = base
        self._network = GenericNetwork(base)

    @torch.inference_mode()
    def logits(self, factors: Factors, scale: float, tokens: Sequence[int]) -> Tensor:
        """fp32 logits (T, V) of token ids under W + scale * B A; no factors give the base's own.

        `factors` are per module A (rank, in) and B (out, rank).
        """
        loras = {
            name: LoraFactors(a.float(), b.float().t().contiguous(), scale)
            for name, (a, b) in factors.items()
        }
        dtype = torch.float32
        adapted = self._network.adapt(loras, dtype=dtype, merge=False)
        output = self._network.run(adapted, input_ids=torch.tensor([tokens]), use_cache=False)
        linear = frozen_linear(self._base.head_name, self._base.head)
        head = OutputHead(adapt(linear, loras, dtype=dtype, merge=False), self._base.logit_softcap)
        return head.logits(cast(Tensor, output.last_hidden_state)[0])


def adapter_config(
    base: LoadedBase, factors: Factors, *, base_name: str, alpha: float, targets: Sequence[str]
) -> AdapterConfig:
    """PEFT's settings for these factors: exactly their modules, by the shortest names that do.

    Raises ModelLoadError naming the module that the base lacks or that is of another shape.
    """
    modules = linear_modules(base.model)
    for name, (a, b) in factors.items():
        weight = cast("Tensor | None", getattr(modules.get(name), "weight", None))
        if weight is None:
            raise ModelLoadError(f"base {base.info.name} has no linear module {name!r}")
        stored = (
            tuple(reversed(weight.shape)) if isinstance(modules[name], Conv1D) else weight.shape
        )
        if tuple(stored) != (b.shape[0], a.shape[1]):
            raise ModelLoadError(
                f"{name}: the adapter maps {a.shape[1]} to {b.shape[0]} values, base "
                f"{base.info.name} {stored[1]} to {stored[0]}"
            )
    try:
        suffixes, names = resolve_targets(base.model, targets)
    except ModelLoadError:
        suffixes, names = (), []
    if set(names) != set(factors):
        suffixes = tuple(sorted(factors))
    rank = int(next(iter(factors.values()))[0].shape[0])
    transposed = {isinstance(modules[name], Conv1D) for name in factors}
    return AdapterConfig(base_name, rank, alpha, tuple(suffixes), transposed == {True})


def base_tensors(base: LoadedBase) -> dict[str, Tensor]:
    """The base's weights by transformers' names, fp32; tied ones once, under their first name."""
    return dict(base.model.named_parameters(remove_duplicate=True))


def base_settings(base: LoadedBase) -> Any:
    """The base's transformers configuration."""
    return cast(Any, base.model).config
