"""Losses of policy optimisation: from log-probabilities of one example's tokens to their gradient.

p is the trained model, q the sampler that drew the tokens, A the advantage, r = p/q. A formula
gives, per token, the loss and its weight -d(loss sum)/d(log p); a backward pass of cross-entropy
with those weights then has exactly the loss's gradient. Everything is fp64, one example at a time,
and sums over tokens without averaging. Log-probabilities and inputs have shape (T,), where the
tokens of an example of several data are laid end to end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinker_engine.runtime.losses import HIGH, LOW

Values = npt.NDArray[np.float64]
Inputs = Mapping[str, Values]


class TokenLoss(NamedTuple):
    """`loss` (T,) of each token and `weight` (T,) = -d(sum of loss)/d(log p)."""

    loss: Values
    weight: Values


Formula = Callable[[Values, Inputs], TokenLoss]


def importance_sampling(logprobs: Values, inputs: Inputs) -> TokenLoss:
    """-r A: REINFORCE corrected for the sampler (Tinker documentation, "Loss functions")."""
    gain = np.exp(logprobs - inputs["logprobs"]) * inputs["advantages"]
    return TokenLoss(-gain, gain)


def ppo(logprobs: Values, inputs: Inputs) -> TokenLoss:
    """-min(r A, clip(r, low, high) A), token by token (arXiv 1707.06347, equation 7)."""
    return _clipped(np.exp(logprobs - inputs["logprobs"]), inputs)


def cispo(logprobs: Values, inputs: Inputs) -> TokenLoss:
    """-sg[clip(r, low, high)] A log p (arXiv 2506.13585, section 3.1); sg: no gradient."""
    ratio = np.exp(logprobs - inputs["logprobs"])
    weight = np.clip(ratio, inputs[LOW], inputs[HIGH]) * inputs["advantages"]
    return TokenLoss(-weight * logprobs, weight)


def dro(logprobs: Values, inputs: Inputs) -> TokenLoss:
    """-(A log p - beta/2 (log r)^2) (arXiv 2405.19107; the form of arXiv 2501.12599)."""
    log_ratio = logprobs - inputs["logprobs"]
    advantages, beta = inputs["advantages"], inputs["beta"]
    loss = 0.5 * beta * log_ratio**2 - advantages * logprobs
    return TokenLoss(loss, advantages - beta * log_ratio)


def gspo(logprobs: Values, inputs: Inputs) -> TokenLoss:
    """-min(s_t A_t, clip(s_t, low, high) A_t), GSPO-token (arXiv 2507.18071, section 4.3).

    s is the geometric mean of r over the tokens that `sequence_ratio_mask` marks; s_t has its
    value, and the gradient of token t's own log-probability.
    """
    is_in = inputs["sequence_ratio_mask"] != 0
    log_ratio = (logprobs - inputs["logprobs"])[is_in].mean()
    return _clipped(np.full_like(logprobs, np.exp(log_ratio)), inputs)


def dpo(logprobs: Values, inputs: Inputs) -> TokenLoss:
    """-log sigmoid(beta sum_t A_t (log p_t - log q_t)) (arXiv 2305.18290, equation 7).

    A is 1 on the chosen answer's tokens, -1 on the rejected one's; q is the reference model. The
    loss stands on the chosen tokens in equal parts.
    """
    signs, beta = inputs["advantages"], inputs["beta"]
    margin = float((beta * signs * (logprobs - inputs["logprobs"])).sum())
    chosen = signs > 0
    loss = np.where(chosen, np.logaddexp(0.0, -margin) / max(1, int(chosen.sum())), 0.0)
    return TokenLoss(loss, beta * signs * np.exp(-np.logaddexp(0.0, margin)))


FORMULAS: Mapping[str, Formula] = {
    "importance_sampling": importance_sampling,
    "ppo": ppo,
    "cispo": cispo,
    "dro": dro,
    "gspo": gspo,
    "dpo": dpo,
}


def _clipped(ratio: Values, inputs: Inputs) -> TokenLoss:
    """-min(ratio A, clip(ratio) A); where the clipped term is smaller there is no gradient."""
    gain = ratio * inputs["advantages"]
    held = np.clip(ratio, inputs[LOW], inputs[HIGH]) * inputs["advantages"]
    return TokenLoss(-np.minimum(gain, held), np.where(gain <= held, gain, 0.0))
