"""Any causal language model of transformers as a Network: padded batches of near-equal lengths.

Modules' `forward` is replaced once, so that they apply the adapter that is in use at the moment;
outside of a pass the model is what it was. Training batches are padded on the right: under causal
attention nothing real attends to padding, so no mask is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.generic_decoder import GenericDecoder
from tinker_engine.numerics.adapted_linear import (
    AdaptedLinear,
    FrozenLinear,
    RowAdapter,
    SharedLinear,
    adapt,
    apply_linear,
    share,
)
from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.network import Share
from tinker_engine.numerics.packing import Limits, Microbatch, plan_padded
from tinker_engine.numerics.recomputation import recomputed

Adapters = Mapping[str, AdaptedLinear | SharedLinear]


def frozen_linear(name: str, module: nn.Module) -> FrozenLinear:
    """Weight as (out, in), whichever way round the module stores it, and bias."""
    weight = cast(Tensor, module.weight)
    bias = cast("Tensor | None", getattr(module, "bias", None))
    return FrozenLinear.single(name, weight.t() if isinstance(module, Conv1D) else weight, bias)


class GenericNetwork:
    """Runs the base's own forward; `dtype` rules the adapted matrix products alone."""

    mixes_adapters = False

    def __init__(self, base: LoadedBase) -> None:
        self.position_bytes = _position_bytes(cast(Any, base.model).config)
        self._backbone = cast(Any, base.backbone)
        self._modules = dict(base.model.named_modules())
        self._head_name = base.head_name
        self._linears: dict[str, FrozenLinear] = {}
        self._adapters: Adapters = {}
        self._sink: GradientSink | None = None
        self._anchor = torch.zeros((), requires_grad=True)
        self.recompute_rows = sys.maxsize
        self._recomputes = False
        for layer in _decoder_layers(base):
            self._make_recomputable(layer)

    def adapt(
        self,
        factors: Mapping[str, LoraFactors],
        *,
        dtype: torch.dtype,
        merge: bool,
        shared: Adapters | None = None,
    ) -> Adapters:
        del shared
        adapted: dict[str, AdaptedLinear] = {}
        for name in factors:
            if name != self._head_name:
                linear = self._install(name)
                adapted[name] = adapt(linear, factors, dtype=dtype, merge=merge)
        return adapted

    def join(self, shares: Sequence[Share]) -> Adapters:
        adapters: dict[str, list[RowAdapter]] = {}
        for one in shares:
            for name, linear in cast("Mapping[str, AdaptedLinear]", one.adapted).items():
                adapters.setdefault(name, []).append(RowAdapter(one.rows, linear, one.sink))
        return {name: share(found) for name, found in adapters.items()}

    def plan(
        self,
        lengths: Sequence[int],
        limits: Limits,
        owners: Sequence[int] | None = None,
        units: Sequence[int] | None = None,
    ) -> list[Microbatch]:
        return plan_padded(lengths, limits, owners, units)

    def hidden(
        self, adapted: Adapters, tokens: Tensor, batch: Microbatch, sink: GradientSink | None
    ) -> Tensor:
        (group,) = batch.groups
        ids = tokens.view(group.count, group.length)
        with self.using(adapted, sink):
            self._recomputes = sink is not None and batch.rows > self.recompute_rows
            hidden = self._backbone(input_ids=ids, use_cache=False).last_hidden_state
        return cast(Tensor, hidden).reshape(batch.rows, -1)

    def decoder(self, dtype: torch.dtype) -> GenericDecoder:
        del dtype
        return GenericDecoder(self)

    def run(self, adapted: Adapters, **inputs: Any) -> Any:
        """The backbone's own output with an adapter on."""
        for name in adapted:
            self._install(name)
        with self.using(adapted, None):
            return self._backbone(**inputs)

    @contextmanager
    def using(self, adapted: Adapters, sink: GradientSink | None) -> Generator[None]:
        """Let the installed modules apply `adapted`; the rest of the model stays plain."""
        self._adapters, self._sink = adapted, sink
        try:
            yield
        finally:
            self._adapters, self._sink, self._recomputes = {}, None, False

    def _make_recomputable(self, module: nn.Module) -> None:
        plain = cast(Any, module.forward)

        def forward(x: Tensor, *rest: Any, **options: Any) -> Any:
            if not self._recomputes:
                return plain(x, *rest, **options)
            adapted, sink = self._adapters, self._sink

            def layer(x: Tensor) -> Tensor:
                # The way back comes when the pass has long been left.
                with self.using(adapted, sink):
                    return cast(Tensor, plain(x, *rest, **options))

            self._recomputes = False
            try:
                return recomputed(layer, x, self._anchor)
            finally:
                self._adapters, self._sink, self._recomputes = adapted, sink, True

        module.forward = forward

    def _install(self, name: str) -> FrozenLinear:
        if name in self._linears:
            return self._linears[name]
        module = self._modules[name]
        self._linears[name] = frozen_linear(name, module)
        plain = cast(Any, module.forward)

        def forward(x: Tensor) -> Tensor:
            linear = self._adapters.get(name)
            if linear is None:
                return cast(Tensor, plain(x))
            rows = x.reshape(-1, x.shape[-1]).to(linear.weight.dtype)
            y = apply_linear(rows, linear, self._sink, self._anchor)
            return y.to(x.dtype).view(*x.shape[:-1], y.shape[-1])

        module.forward = forward
        return self._linears[name]


def _decoder_layers(base: LoadedBase) -> list[nn.Module]:
    """The backbone's layers; none where they aren't one list of the stated length."""
    count = int(getattr(cast(Any, base.model).config, "num_hidden_layers", 0))
    lists = [m for m in base.backbone.modules() if isinstance(m, nn.ModuleList)]
    found = next((layers for layers in lists if len(layers) == count), None)
    return list(found) if found is not None else []


def _position_bytes(config: Any) -> int:
    """Keys and values of one token in fp32."""
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    return 2 * 4 * int(config.num_hidden_layers * kv_heads * width)
