"""AdamW on flat vectors, as the Tinker API names it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinker_engine.runtime.records import AdamParams


@dataclass
class AdamState:
    """First and second moments (n,) fp32 and the number of steps taken."""

    first: Tensor
    second: Tensor
    step: int = 0

    @staticmethod
    def zeros(size: int) -> AdamState:
        """State before the first step, for n trained values."""
        return AdamState(torch.zeros(size), torch.zeros(size))


@torch.no_grad()
def adamw_step(values: Tensor, gradient: Tensor, state: AdamState, params: AdamParams) -> None:
    """Update values (n,) and state in place from a gradient (n,), all fp32.

    Decoupled weight decay (arXiv 1711.05101, Algorithm 2), as torch.optim.AdamW computes it.
    """
    state.step += 1
    values.mul_(1.0 - params.learning_rate * params.weight_decay)
    state.first.lerp_(gradient, 1.0 - params.beta1)
    state.second.mul_(params.beta2).addcmul_(gradient, gradient, value=1.0 - params.beta2)
    correction = math.sqrt(1.0 - params.beta2**state.step)
    denominator = state.second.sqrt().div_(correction).add_(params.eps)
    rate = params.learning_rate / (1.0 - params.beta1**state.step)
    values.addcdiv_(state.first, denominator, value=-rate)


# With these, |first| / eps <= 1e30 bounds the update, and no sum of updates gets near 3e38.
_PLAIN_NORM, _PLAIN_EPS, _PLAIN_RATE = 1e15, 1e-15, 1.0


def stays_finite(gradient: Tensor, params: AdamParams) -> bool:
    """Whether a step with a finite gradient (n,) is certain not to overflow fp32, before clipping.

    Certain for all usual settings; where it is False, the result has to be looked at.
    """
    rate = params.learning_rate
    is_plain = (
        0 <= rate <= _PLAIN_RATE
        and rate * params.weight_decay <= 1
        and params.eps >= _PLAIN_EPS
        and max(params.beta1, params.beta2) <= 1 - 1e-9
    )
    if not is_plain or not gradient.numel():
        return is_plain
    low, high = torch.aminmax(gradient)
    return max(-float(low), float(high)) < _PLAIN_NORM


def clip_gradient(gradient: Tensor, max_norm: float) -> float:
    """Scale a gradient (n,) in place to at most `max_norm` (0: leave it); gives its norm before.

    The factor is max_norm / (norm + 1e-6), as torch.nn.utils.clip_grad_norm_ has it.
    """
    norm = float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
    if max_norm > 0 and norm > max_norm:
        gradient.mul_(max_norm / (norm + 1e-6))
    return norm
