"""Llama-like decoders as a Network of our own: flat rows, no padding, fused projections.

Covers Llama, Mistral, Qwen2, Qwen3 and Gemma 1 to 3 as transformers builds them; whether a given
model really is one is settled at load by comparing hidden states with the model's own. The base's
projection weights are laid side by side once (q, k, v; gate, up), and the model's own modules
become views of them, so nothing is held twice.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.generic_decoder import GenericDecoder
from tinker_engine.models.generic_network import GenericNetwork
from tinker_engine.models.llama_blocks import (
    GATES,
    AdaptedBlock,
    BaseBlock,
    activation,
    is_known,
    norm_weight,
    read_block,
    rotation_arguments,
)
from tinker_engine.models.llama_decoder import LlamaDecoder
from tinker_engine.models.rotary_table import RotaryTable
from tinker_engine.numerics.adapted_linear import (
    AdaptedLinear,
    FrozenLinear,
    MixedLinear,
    RowAdapter,
    SharedLinear,
    adapt,
    apply_linear,
    share,
    take_apart,
)
from tinker_engine.numerics.attention import HeadShape, Rotation, ScoreRule, self_attention
from tinker_engine.numerics.decoder_parts import rms_norm
from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.network import Decoder, Share
from tinker_engine.numerics.packing import Limits, Microbatch, plan_exact
from tinker_engine.numerics.recomputation import recomputed

PARTS = ("qkv", "output", "gate_up", "down")


@dataclass(frozen=True)
class AdaptedLlama:
    """All blocks with an adapter, in one compute dtype."""

    blocks: tuple[AdaptedBlock, ...]
    dtype: torch.dtype


def make_llama_network(base: LoadedBase) -> LlamaNetwork | None:
    """The network for a base of this kind; None where the base isn't one."""
    if not is_known(cast(Any, base.model).config):
        return None
    network = LlamaNetwork(base)
    return network if _agrees(network, base) else None


def _agrees(network: LlamaNetwork, base: LoadedBase) -> bool:
    """Same hidden states as the model's own forward, on two short rows."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, base.info.vocab_size, (2, 7), generator=generator)
    (batch,) = plan_exact([7, 7], Limits())
    with torch.inference_mode():
        own = cast(Any, base.backbone)(input_ids=tokens, use_cache=False).last_hidden_state
        adapted = network.adapt({}, dtype=torch.float32, merge=False)
        ours = network.hidden(adapted, tokens.flatten(), batch, None)
    return torch.allclose(own.flatten(0, 1), ours, atol=1e-4, rtol=1e-3)


class LlamaNetwork:
    """See the module; `shape` and `blocks` are read by the decoder too."""

    def __init__(self, base: LoadedBase) -> None:
        self.recompute_rows = sys.maxsize
        backbone = cast(Any, base.backbone)
        config = backbone.config
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.shape = HeadShape(config.num_attention_heads, config.num_key_value_heads, width)
        self.eps = float(config.rms_norm_eps)
        self.final_norm = norm_weight(backbone.norm, config)
        self._embedding = cast(Tensor, backbone.embed_tokens.weight)
        self._embedding_scale = float(getattr(backbone.embed_tokens, "embed_scale", 1.0))
        self._gate = GATES[activation(config)]
        self._anchor = torch.zeros((), requires_grad=True)
        self._tables = [RotaryTable(backbone.rotary_emb, *a) for a in rotation_arguments(config)]
        prefix = next(name for name, m in base.model.named_modules() if m is base.backbone)
        self.blocks = tuple(
            read_block(f"{prefix}.layers.{i}" if prefix else f"layers.{i}", layer, config, i)
            for i, layer in enumerate(backbone.layers)
        )
        plain = ScoreRule(width**-0.5)
        is_plain = len(self._tables) == 1 and all(block.rule == plain for block in self.blocks)
        self._generic = None if is_plain else GenericNetwork(base)
        self.mixes_adapters = is_plain

    def adapt(
        self,
        factors: Mapping[str, LoraFactors],
        *,
        dtype: torch.dtype,
        merge: bool,
        shared: AdaptedLlama | None = None,
    ) -> AdaptedLlama:
        def on(layer: int, part: str) -> AdaptedLinear:
            linear: FrozenLinear = getattr(self.blocks[layer], part)
            plain = None if shared is None else getattr(shared.blocks[layer], part)
            return adapt(linear, factors, dtype=dtype, merge=merge, shared=plain)

        blocks = tuple(
            AdaptedBlock(*(on(layer, part) for part in PARTS)) for layer in range(len(self.blocks))
        )
        return AdaptedLlama(blocks, dtype)

    def mix(self, spans: Sequence[tuple[AdaptedLlama, int]]) -> AdaptedLlama:
        """Weights for rows of several adapters: so many rows of each, one after the other."""
        runs: list[tuple[AdaptedLlama, int]] = []
        for adapted, count in spans:
            if runs and runs[-1][0] is adapted:
                runs[-1] = (adapted, runs[-1][1] + count)
            else:
                runs.append((adapted, count))
        if len(runs) == 1:
            return runs[0][0]
        counts = [count for _, count in runs]

        def on(layer: int, part: str) -> MixedLinear:
            return MixedLinear.of(counts, [getattr(a.blocks[layer], part) for a, _ in runs])

        blocks = tuple(
            AdaptedBlock(*(on(layer, part) for part in PARTS)) for layer in range(len(self.blocks))
        )
        return AdaptedLlama(blocks, runs[0][0].dtype)

    def join(self, shares: Sequence[Share]) -> AdaptedLlama:
        adapted = [cast(AdaptedLlama, share.adapted) for share in shares]
        blocks = tuple(
            AdaptedBlock(*(_shared(shares, name, of) for name in PARTS))
            for of in zip(*(one.blocks for one in adapted), strict=True)
        )
        return AdaptedLlama(blocks, adapted[0].dtype)

    def plan(
        self,
        lengths: Sequence[int],
        limits: Limits,
        owners: Sequence[int] | None = None,
        units: Sequence[int] | None = None,
    ) -> list[Microbatch]:
        return plan_exact(lengths, limits, owners, units)

    def hidden(
        self, adapted: AdaptedLlama, tokens: Tensor, batch: Microbatch, sink: GradientSink | None
    ) -> Tensor:
        positions = torch.cat(
            [torch.arange(group.length).repeat(group.count) for group in batch.groups]
        )
        rotations = [
            self.rotation(positions, adapted.dtype, rope) for rope in range(len(self._tables))
        ]
        x = self.embed(tokens)  # (rows, D) fp32
        recomputes = sink is not None and batch.rows > self.recompute_rows
        for base, block in zip(self.blocks, adapted.blocks, strict=True):

            def layer(x: Tensor, base: BaseBlock = base, block: AdaptedBlock = block) -> Tensor:
                qkv = self.project(base, block, x, sink)
                y = self_attention(qkv, rotations[base.rope], batch.groups, self.shape, base.rule)
                return self.finish(base, block, x, y, sink)

            x = recomputed(layer, x, self._anchor) if recomputes else layer(x)
        return rms_norm(x, self.final_norm, self.eps, torch.float32)

    def decoder(self, dtype: torch.dtype) -> Decoder:
        if self._generic is None:
            return LlamaDecoder(self, dtype)
        # Windows, soft caps and rotations by layer: transformers' own cache knows them all.
        return GenericDecoder(self)

    @property
    def position_bytes(self) -> int:
        """Keys and values of one token in fp32."""
        return 2 * 4 * len(self.blocks) * self.shape.kv_heads * self.shape.width

    def run(self, adapted: AdaptedLlama, **inputs: Any) -> Any:
        """The backbone's own output with an adapter on, for blocks the own cache can't continue."""
        assert self._generic is not None
        return self._generic.run(self._single_modules(adapted), **inputs)

    def _single_modules(self, adapted: AdaptedLlama) -> dict[str, AdaptedLinear]:
        """What the blocks apply, module by module, as views."""
        singles: dict[str, AdaptedLinear] = {}
        for base, block in zip(self.blocks, adapted.blocks, strict=True):
            for part in PARTS:
                singles.update(take_apart(getattr(base, part), getattr(block, part)))
        return singles

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (rows,) -> residual stream (rows, D) fp32."""
        x = self._embedding[tokens]
        return x if self._embedding_scale == 1.0 else x * self._embedding_scale

    def rotation(self, positions: Tensor, dtype: torch.dtype, rope: int = 0) -> Rotation:
        """Rotary factors of the query and key heads at positions (rows,)."""
        heads = self.shape.heads + self.shape.kv_heads
        cos, sin = self._tables[rope].at(positions)  # (rows, d)
        return Rotation(cos.repeat(1, heads).to(dtype), sin.repeat(1, heads).to(dtype))

    def project(
        self, base: BaseBlock, block: AdaptedBlock, x: Tensor, sink: GradientSink | None
    ) -> Tensor:
        """Residual (rows, D) -> q, k, v side by side, before rotation, (rows, (H + 2 KV) * d)."""
        normed = rms_norm(x, base.norms[0], self.eps, block.qkv.weight.dtype)
        qkv = apply_linear(normed, block.qkv, sink, self._anchor)
        if base.head_norms is None:
            return qkv
        heads, kv_heads, width = self.shape
        sizes = [heads * width, kv_heads * width, kv_heads * width]
        q, k, v = (part.unflatten(1, (-1, width)) for part in qkv.split(sizes, dim=1))
        q = rms_norm(q, base.head_norms[0], self.eps, qkv.dtype)
        k = rms_norm(k, base.head_norms[1], self.eps, qkv.dtype)
        return torch.cat([q, k, v], dim=1).flatten(1)

    def finish(
        self,
        base: BaseBlock,
        block: AdaptedBlock,
        x: Tensor,
        attended: Tensor,
        sink: GradientSink | None,
    ) -> Tensor:
        """Residual and attention output (rows, H * d) -> residual after the block's MLP."""
        y = apply_linear(attended, block.output, sink, self._anchor)
        if base.post_norms is not None:
            y = rms_norm(y, base.post_norms[0], self.eps, torch.float32)
        x = x + y
        normed = rms_norm(x, base.norms[1], self.eps, block.gate_up.weight.dtype)
        inner = self._gate(apply_linear(normed, block.gate_up, sink, self._anchor))
        y = apply_linear(inner, block.down, sink, self._anchor)
        if base.post_norms is not None:
            y = rms_norm(y, base.post_norms[1], self.eps, torch.float32)
        return x + y


def _shared(shares: Sequence[Share], name: str, blocks: Sequence[AdaptedBlock]) -> SharedLinear:
    """One product of a block, `blocks` being that block of each share."""
    return share(
        [
            RowAdapter(one.rows, getattr(block, name), one.sink)
            for one, block in zip(shares, blocks, strict=True)
        ]
    )
