"""Llama-family decoders as a Network of our own: flat rows, no padding, fused projections.

Covers Llama, Mistral, Qwen2 and Qwen3 as transformers builds them; whether a given model really is
one is settled at load by comparing hidden states with the model's own. The base's projection
weights are laid side by side once (q, k, v; gate, up), and the model's own modules become views of
them, so nothing is held twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.llama_decoder import LlamaDecoder
from tinker_engine.models.memory_pages import release_file_pages
from tinker_engine.numerics.adapted_linear import (
    AdaptedLinear,
    FrozenLinear,
    MixedLinear,
    adapt,
    apply_linear,
)
from tinker_engine.numerics.attention import HeadShape, Rotation, self_attention
from tinker_engine.numerics.decoder_parts import rms_norm, swiglu
from tinker_engine.numerics.gradients import GradientSink
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.packing import Limits, Microbatch, plan_exact

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
PARTS = ("qkv", "output", "gate_up", "down")


@dataclass(frozen=True)
class BaseBlock:
    """Frozen parts of one decoder block."""

    qkv: FrozenLinear
    output: FrozenLinear
    gate_up: FrozenLinear
    down: FrozenLinear
    norms: tuple[Tensor, Tensor]
    head_norms: tuple[Tensor, Tensor] | None


@dataclass(frozen=True)
class AdaptedBlock:
    """The four matrix products of a block with the adapter on them."""

    qkv: AdaptedLinear | MixedLinear
    output: AdaptedLinear | MixedLinear
    gate_up: AdaptedLinear | MixedLinear
    down: AdaptedLinear | MixedLinear


@dataclass(frozen=True)
class AdaptedLlama:
    """All blocks with an adapter, in one compute dtype."""

    blocks: tuple[AdaptedBlock, ...]
    dtype: torch.dtype


def make_llama_network(base: LoadedBase) -> LlamaNetwork | None:
    """The network for a base of this family; None where the base isn't one of it."""
    config = cast(Any, base.model).config
    if config.model_type not in MODEL_TYPES or config.hidden_act != "silu":
        return None
    rope = getattr(config, "rope_parameters", None) or {}
    # Rotations that depend on the length at hand (dynamic, longrope) can't be tabulated.
    if rope.get("rope_type", "default") not in ("default", "linear", "llama3"):
        return None
    if _slides(config):
        return None
    network = LlamaNetwork(base)
    return network if _agrees(network, base) else None


def _slides(config: Any) -> bool:
    """Whether some layer attends to a window shorter than the context."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    is_used = kinds is None or any(kind != "full_attention" for kind in kinds)
    return window is not None and is_used and window < config.max_position_embeddings


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

    mixes_adapters = True

    def __init__(self, base: LoadedBase) -> None:
        backbone = cast(Any, base.backbone)
        config = backbone.config
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.shape = HeadShape(config.num_attention_heads, config.num_key_value_heads, width)
        self.eps = float(config.rms_norm_eps)
        self.final_norm = cast(Tensor, backbone.norm.weight)
        self._embedding = cast(Tensor, backbone.embed_tokens.weight)
        self._anchor = torch.zeros((), requires_grad=True)
        self._cos, self._sin = _rotation_table(backbone, base.info.max_context)
        prefix = next(name for name, m in base.model.named_modules() if m is base.backbone)
        self.blocks = tuple(
            _base_block(f"{prefix}.layers.{i}" if prefix else f"layers.{i}", layer)
            for i, layer in enumerate(backbone.layers)
        )

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

    def plan(self, lengths: Sequence[int], limits: Limits) -> list[Microbatch]:
        return plan_exact(lengths, limits)

    def hidden(
        self, adapted: AdaptedLlama, tokens: Tensor, batch: Microbatch, sink: GradientSink | None
    ) -> Tensor:
        positions = torch.cat(
            [torch.arange(group.length).repeat(group.count) for group in batch.groups]
        )
        rotation = self.rotation(positions, adapted.dtype)
        x = self.embed(tokens)  # (rows, D) fp32
        for base, block in zip(self.blocks, adapted.blocks, strict=True):
            qkv = self.project(base, block, x, sink)
            y = self_attention(qkv, rotation, batch.groups, self.shape)
            x = self.finish(base, block, x, y, sink)
        return rms_norm(x, self.final_norm, self.eps, torch.float32)

    def decoder(self, dtype: torch.dtype) -> LlamaDecoder:
        return LlamaDecoder(self, dtype)

    def embed(self, tokens: Tensor) -> Tensor:
        """Token ids (rows,) -> residual stream (rows, D) fp32."""
        return self._embedding[tokens]

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Rotation:
        """Rotary factors of the query and key heads at positions (rows,)."""
        heads = self.shape.heads + self.shape.kv_heads
        cos, sin = self._cos[positions], self._sin[positions]  # (rows, d)
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
        x = x + apply_linear(attended, block.output, sink, self._anchor)
        normed = rms_norm(x, base.norms[1], self.eps, block.gate_up.weight.dtype)
        inner = swiglu(apply_linear(normed, block.gate_up, sink, self._anchor))
        return x + apply_linear(inner, block.down, sink, self._anchor)


def _rotation_table(backbone: Any, max_context: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (max_context, d) from the model's own rotary module."""
    with torch.no_grad():
        positions = torch.arange(max_context)[None]
        cos, sin = backbone.rotary_emb(torch.zeros(1, 1, 1), positions)
    signed = sin[0].clone()
    signed[:, : signed.shape[1] // 2].neg_()
    return cos[0].clone(), signed


def _base_block(name: str, layer: Any) -> BaseBlock:
    attention, mlp = layer.self_attn, layer.mlp
    head_norms = None
    if hasattr(attention, "q_norm"):
        head_norms = (attention.q_norm.weight, attention.k_norm.weight)
    return BaseBlock(
        qkv=_side_by_side(
            {f"{name}.self_attn.{n}": getattr(attention, n) for n in ("q_proj", "k_proj", "v_proj")}
        ),
        output=_side_by_side({f"{name}.self_attn.o_proj": attention.o_proj}),
        gate_up=_side_by_side(
            {f"{name}.mlp.{n}": getattr(mlp, n) for n in ("gate_proj", "up_proj")}
        ),
        down=_side_by_side({f"{name}.mlp.down_proj": mlp.down_proj}),
        norms=(layer.input_layernorm.weight, layer.post_attention_layernorm.weight),
        head_norms=head_norms,
    )


def _side_by_side(modules: Mapping[str, nn.Module]) -> FrozenLinear:
    """One weight for modules that read the same input; their own weights become views of it."""
    if len(modules) == 1:
        ((name, module),) = modules.items()
        return FrozenLinear.single(
            name, cast(Tensor, module.weight), cast("Tensor | None", module.bias)
        )
    weights = [cast(Tensor, module.weight) for module in modules.values()]
    biases = [cast("Tensor | None", module.bias) for module in modules.values()]
    weight = torch.cat([w.detach() for w in weights])
    release_file_pages(weights)
    outputs: list[slice] = []
    start = 0
    for old in weights:
        outputs.append(slice(start, start + int(old.shape[0])))
        old.data = weight[outputs[-1]]
        start = outputs[-1].stop
    bias = None
    if any(b is not None for b in biases):
        filled = [
            b.detach() if b is not None else torch.zeros(w.shape[0])
            for b, w in zip(biases, weights, strict=True)
        ]
        bias = torch.cat(filled)
    return FrozenLinear(tuple(modules), tuple(outputs), weight, bias)
