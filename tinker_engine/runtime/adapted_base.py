"""A base model with LoRA factors on it, ready to compute with."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tinker_engine.models.base_model import LoadedBase
from tinker_engine.models.generic_network import frozen_linear
from tinker_engine.numerics.adapted_linear import adapt
from tinker_engine.numerics.cross_entropy import OutputHead
from tinker_engine.numerics.lora import LoraFactors
from tinker_engine.numerics.network import Network
from tinker_engine.runtime.sample_models import MERGE_LIMIT_BYTES
from tinker_engine.runtime.training_pass import AdaptedModel


def adapted_base(
    base: LoadedBase,
    network: Network,
    loras: Mapping[str, LoraFactors],
    dtype: torch.dtype,
    *,
    can_merge: bool = True,
) -> AdaptedModel:
    """A base with factors on it, in one compute dtype; merged into the weights where that fits."""
    weights = sum(f.a.shape[1] * f.bt.shape[1] for f in loras.values())
    merge = can_merge and weights * dtype.itemsize <= MERGE_LIMIT_BYTES
    adapted = network.adapt(loras, dtype=dtype, merge=merge)
    head = adapt(frozen_linear(base.head_name, base.head), loras, dtype=dtype, merge=merge)
    return AdaptedModel(network, adapted, OutputHead(head, base.logit_softcap), dtype)
