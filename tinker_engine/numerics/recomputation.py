"""Decoder layers whose inner values are computed again on the way back instead of kept.

What a layer computes doesn't depend on whether it is: the same operations run on the same values,
so gradients are the same to the last bit. It costs a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(layer: Callable[[Tensor], Tensor], x: Tensor, anchor: Tensor) -> Tensor:
    """layer(x), keeping x alone (Chen et al., arXiv 1604.06174).

    `anchor` is any tensor that wants a gradient: x of the first layer wants none.
    """

    def run(x: Tensor, anchor: Tensor) -> Tensor:
        del anchor
        return layer(x)

    result = checkpoint(run, x, anchor, use_reentrant=True, preserve_rng_state=False)
    return cast(Tensor, result)
