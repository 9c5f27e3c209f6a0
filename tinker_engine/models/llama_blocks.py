"""Decoder blocks of the Llama kind, as transformers builds them, read into frozen parts.

What the families share: RMS norms, rotary positions, grouped heads, a gated MLP. What differs is
read here: norms on q and k (Qwen3, Gemma 3), norms after attention and MLP (Gemma 2 and 3), norm
weights stored as w for 1 + w (Gemma), how scores are made, which rotation a block uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tinker_engine.models.memory_pages import release_file_pages
from tinker_engine.numerics.adapted_linear import (
    AdaptedLinear,
    FrozenLinear,
    MixedLinear,
    SharedLinear,
)
from tinker_engine.numerics.attention import ScoreRule
from tinker_engine.numerics.decoder_parts import geglu, swiglu

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
GATES: Mapping[str, Callable[[Tensor], Tensor]] = {"silu": swiglu, "gelu_pytorch_tanh": geglu}
# Rotations that depend on the length at hand (dynamic, longrope) can't be tabulated.
ROPE_TYPES = ("default", "linear", "llama3")


@dataclass(frozen=True)
class BaseBlock:
    """Frozen parts of one decoder block.

    `norms` stand before attention and MLP, `post_norms` after them; `rope` numbers the rotation.
    """

    qkv: FrozenLinear
    output: FrozenLinear
    gate_up: FrozenLinear
    down: FrozenLinear
    norms: tuple[Tensor, Tensor]
    post_norms: tuple[Tensor, Tensor] | None
    head_norms: tuple[Tensor, Tensor] | None
    rule: ScoreRule
    rope: int


@dataclass(frozen=True)
class AdaptedBlock:
    """The four matrix products of a block with the adapter on them."""

    qkv: AdaptedLinear | MixedLinear | SharedLinear
    output: AdaptedLinear | MixedLinear | SharedLinear
    gate_up: AdaptedLinear | MixedLinear | SharedLinear
    down: AdaptedLinear | MixedLinear | SharedLinear


def is_known(config: Any) -> bool:
    """Whether a transformers configuration describes decoders of this kind."""
    if config.model_type not in MODEL_TYPES or activation(config) not in GATES:
        return False
    if getattr(config, "use_bidirectional_attention", False):
        return False
    return all(rope.get("rope_type", "default") in ROPE_TYPES for rope in _ropes(config).values())


def activation(config: Any) -> str:
    """Name of the gate's function."""
    return str(getattr(config, "hidden_activation", None) or config.hidden_act)


def rotation_arguments(config: Any) -> list[tuple[str, ...]]:
    """What to call the rotary module with, once per rotation; one rotation takes nothing more."""
    return [(name,) if name else () for name in _ropes(config)]


def _ropes(config: Any) -> dict[str, dict[str, Any]]:
    """Rotary parameters by the layer type they are for, or under "" where all layers share them."""
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds and kinds <= set(parameters):
        return {kind: parameters[kind] for kind in sorted(kinds)}
    return {"": parameters}


def read_block(name: str, layer: Any, config: Any, index: int) -> BaseBlock:
    """The parts of decoder layer `index`, whose full module name is `name`."""
    attention, mlp = layer.self_attn, layer.mlp
    kinds = getattr(config, "layer_types", None)
    kind = kinds[index] if kinds else None
    ropes = list(_ropes(config))
    before_mlp, post_norms = layer.post_attention_layernorm, None
    if hasattr(layer, "pre_feedforward_layernorm"):
        before_mlp = layer.pre_feedforward_layernorm
        post_norms = (
            norm_weight(layer.post_attention_layernorm, config),
            norm_weight(layer.post_feedforward_layernorm, config),
        )
    head_norms = None
    if hasattr(attention, "q_norm"):
        head_norms = norm_weight(attention.q_norm, config), norm_weight(attention.k_norm, config)
    return BaseBlock(
        qkv=_side_by_side(
            {f"{name}.self_attn.{n}": getattr(attention, n) for n in ("q_proj", "k_proj", "v_proj")}
        ),
        output=_side_by_side({f"{name}.self_attn.o_proj": attention.o_proj}),
        gate_up=_side_by_side(
            {f"{name}.mlp.{n}": getattr(mlp, n) for n in ("gate_proj", "up_proj")}
        ),
        down=_side_by_side({f"{name}.mlp.down_proj": mlp.down_proj}),
        norms=(norm_weight(layer.input_layernorm, config), norm_weight(before_mlp, config)),
        post_norms=post_norms,
        head_norms=head_norms,
        rule=_score_rule(attention, config, kind),
        rope=ropes.index(kind) if kind in ropes else 0,
    )


def norm_weight(norm: Any, config: Any) -> Tensor:
    """What a normed vector is multiplied with; Gemma stores it less 1."""
    weight = cast(Tensor, norm.weight).detach()
    return weight + 1.0 if config.model_type.startswith("gemma") else weight


def _score_rule(attention: Any, config: Any, kind: str | None) -> ScoreRule:
    """How a layer's scores are made; a window as long as the context is none."""
    window = getattr(config, "sliding_window", None) if kind != "full_attention" else None
    if window is not None and window >= config.max_position_embeddings:
        window = None
    # Gemma 3 has the setting too, but transformers doesn't apply it there.
    softcap = config.attn_logit_softcapping if config.model_type == "gemma2" else None
    return ScoreRule(float(attention.scaling), softcap, window)


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
