"""The one table of losses: what each takes per example, its settings and their defaults.

Formulas are in `tinker_engine.numerics.policy_losses`, under the same names. Losses are sums over
tokens, never means. All but `dpo` are sums of terms of single data, which is what lets a private
run clip each datum's gradient on its own; `dpo`, this server's extension, is one of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LOW, HIGH = "clip_low_threshold", "clip_high_threshold"


@dataclass(frozen=True)
class LossSchema:
    """One loss as clients ask for it.

    `inputs` are the float32 tensors that each datum needs beside `target_tokens`, one value per
    token. `settings` maps the keys of `loss_fn_config` to defaults, None where there is no
    default; a datum may carry a setting as a per-token tensor of the same name instead.
    `together` consecutive data of a request form one example of the loss.
    """

    inputs: tuple[str, ...] = ()
    settings: Mapping[str, float | None] = field(default_factory=dict[str, float | None])
    together: int = 1

    @property
    def couples_data(self) -> bool:
        """Whether the gradient of one datum depends on another."""
        return self.together > 1

    def units(self, data: int) -> list[int] | None:
        """The number of the example that each of so many data belongs to; None: its own."""
        return [k // self.together for k in range(data)] if self.couples_data else None


_POLICY = ("logprobs", "advantages")

LOSSES: Mapping[str, LossSchema] = {
    "cross_entropy": LossSchema(),
    "importance_sampling": LossSchema(_POLICY),
    "ppo": LossSchema(_POLICY, {LOW: 0.8, HIGH: 1.2}),
    # One-sided by default, as in MiniMax-M1 (arXiv 2506.13585) and ScaleRL (arXiv 2510.13786).
    "cispo": LossSchema(_POLICY, {LOW: 0.0, HIGH: 4.0}),
    "dro": LossSchema(_POLICY, {"beta": None}),
    # The clipping range of the paper's experiments (arXiv 2507.18071, section 5.1).
    "gspo": LossSchema((*_POLICY, "sequence_ratio_mask"), {LOW: 1 - 3e-4, HIGH: 1 + 4e-4}),
    # Chosen and rejected follow each other; advantages are 1 and -1 on their tokens, 0 on the
    # prompt's, logprobs the reference model's.
    "dpo": LossSchema(_POLICY, {"beta": None}, together=2),
}
