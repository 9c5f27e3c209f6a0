"""How much memory a training pass takes, worked out from the base's sizes before it runs.

Counted are the values that each decoder layer keeps for its way back, what a layer holds at once,
logits in chunks, copies of weights with the adapter in them, and the run's own vectors. The
estimate is for planning: allocators keep a little more than is asked for.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.llama_blocks import is_known
from tinker_engine.numerics.attention import DENSE_LENGTH
from tinker_engine.numerics.cross_entropy import CHUNK_ELEMENTS
from tinker_engine.numerics.lora import LoraLayout

FP32 = 4
# Of the machine's memory: the base, other runs, samplers and other programs want theirs.
SHARE_FOR_ACTIVATIONS = 0.25
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class _Sizes:
    """What the values of one layer depend on."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    width: int
    inner: int
    vocabulary: int
    inner_copies: int

    @staticmethod
    def of(base: LoadedBase) -> _Sizes:
        config = cast(Any, base.model).config
        heads, hidden = int(config.num_attention_heads), base.info.hidden_size
        inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
        return _Sizes(
            layers=int(config.num_hidden_layers),
            hidden=hidden,
            heads=heads,
            kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            width=int(getattr(config, "head_dim", None) or hidden // heads),
            inner=int(inner or 4 * hidden),
            vocabulary=base.info.vocab_size,
            # Plain autograd through an MLP keeps every step of its activation function.
            inner_copies=3 if is_known(config) else 6,
        )

    def layer_bytes(self, length: int, itemsize: int) -> int:
        """Kept by one layer for each token of examples of this length.

        Two residuals in fp32; in the pass's dtype two normed inputs, q, k and v twice over, the
        heads' outputs, gate and up, and their product. Short examples keep attention weights too;
        long ones keep q, k, v and outputs in fp32.
        """
        qkv = (self.heads + 2 * self.kv_heads) * self.width
        outputs = self.heads * self.width
        attention = self.heads * length * itemsize
        if length > DENSE_LENGTH:
            attention = (qkv + outputs) * FP32
        kept = 2 * self.hidden + 2 * qkv + outputs + self.inner_copies * self.inner
        return 2 * self.hidden * FP32 + kept * itemsize + attention

    def passing_bytes(self, itemsize: int) -> int:
        """Held at once by one layer on its way back, for each token, beyond what it kept."""
        return 4 * self.inner * itemsize + 4 * self.hidden * FP32

    def head_bytes(self, rows: int) -> int:
        """Hidden states with their gradient, and a chunk of logits three times over."""
        chunk = max(CHUNK_ELEMENTS, 32 * self.vocabulary)
        return 3 * rows * self.hidden * FP32 + 3 * min(chunk, rows * self.vocabulary) * FP32


def training_memory_bytes(
    base: LoadedBase,
    rows: int,
    *,
    layout: LoraLayout,
    length: int,
    dtype: torch.dtype = torch.float32,
    recomputes: bool = False,
    kept_examples: int = 0,
) -> int:
    """Memory of a run's training pass on top of the loaded base, in bytes.

    `rows` are the tokens of its largest microbatch, `length` those of its longest example;
    `kept_examples` are the examples whose gradients a private run holds at once.
    """
    sizes, itemsize = _Sizes.of(base), dtype.itemsize
    layer = sizes.layer_bytes(length, itemsize)
    if recomputes:
        activations = rows * (sizes.layers * sizes.hidden * FP32 + layer)
    else:
        activations = rows * sizes.layers * layer
    passing = rows * sizes.passing_bytes(itemsize)
    examples = kept_examples * layout.trainable * itemsize
    return (
        activations
        + max(passing, sizes.head_bytes(rows))
        + examples
        + _weight_bytes(base, layout, dtype)
        + _run_bytes(layout, itemsize)
    )


def plain_rows(base: LoadedBase, budget_bytes: int) -> int:
    """Tokens of the largest microbatch whose activations fit a budget without recomputation.

    In fp32 and for examples as long as attention keeps its weights: what takes most.
    """
    sizes = _Sizes.of(base)
    most = max(sizes.layer_bytes(length, FP32) for length in (DENSE_LENGTH, DENSE_LENGTH + 1))
    return budget_bytes // (sizes.layers * most + sizes.passing_bytes(FP32))


def activation_budget() -> int:
    """Bytes of this machine's or container's memory that a training pass may keep values in."""
    total = sys.maxsize
    if hasattr(os, "sysconf"):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Without a limit there is no such file, or it says "max".
    with contextlib.suppress(OSError, ValueError):
        total = min(total, int(_CONTAINER_LIMIT.read_text("ascii")))
    return int(total * SHARE_FOR_ACTIVATIONS)


def _weight_bytes(base: LoadedBase, layout: LoraLayout, dtype: torch.dtype) -> int:
    """Copies of weights: adapted ones with the adapter in, all of them in another dtype."""
    adapted = sum(width_in * width_out for width_in, width_out in layout.modules.values())
    if dtype == torch.float32:
        return adapted * FP32
    return sum(p.numel() for p in base.model.parameters()) * dtype.itemsize


def _run_bytes(layout: LoraLayout, itemsize: int) -> int:
    """Parameters, two moments, the accumulator and a request's gradient; factors in the dtype."""
    return (layout.size + 4 * layout.trainable) * FP32 + layout.size * itemsize
