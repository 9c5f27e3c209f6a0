"""Parity: does an exported file compute what the package computes?

Owns the fixed prompts and the comparison. Logits of both sides are computed in fp32 on the same
base; the exported side's factors come from the file as its own reader reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tensafe.errors import ParityError

if TYPE_CHECKING:
    from torch import Tensor

    from tensafe.tgsp.export.source import ExportSource

# The claim that exports are held to, and what fp32 sums in another order can't reach on them.
TOLERANCE = 1e-4
PROMPTS = (
    "My parcel has not arrived. Which team handles this?",
    "Summarise: the meeting moved from 9:30 to 14:00 on 2 May.",
    "What is 12 + 30?",
    "Ist das Gerät noch unter Garantie?",
    "Reply with one word.",
    "  Two  spaces, a tab\tand\n\n3 lines\nof text  ",
)
_SPREAD_TOKENS = 48

Logits = Callable[[Sequence[int]], "Tensor"]
Factors = Mapping[str, "tuple[Tensor, Tensor]"]


@dataclass(frozen=True)
class ParityCheck:
    """One comparison with the package's payload.

    `max_difference` is the largest absolute difference of two logits over all prompts, positions
    and vocabulary; `adapter_effect` is the same between the package and the bare base, so that a
    comparison of adapters that do nothing can be told.
    """

    name: str
    max_difference: float
    adapter_effect: float
    prompts: int
    positions: int
    tolerance: float = TOLERANCE

    def to_json(self) -> dict[str, object]:
        """The fields as they are."""
        return asdict(self)


class Parity:
    """The package's logits on the fixed prompts, computed once, and comparisons with them."""

    def __init__(self, source: ExportSource) -> None:
        from tinker_engine.models.adapter_logits import AdapterLogits

        self._engine = AdapterLogits(source.base)
        self.token_lists = token_lists(source)
        self._expected = [
            self._engine.logits(source.factors, source.scale, tokens) for tokens in self.token_lists
        ]
        plain = [self._engine.logits({}, 1.0, tokens) for tokens in self.token_lists]
        self._effect = max(
            float((one - other).abs().max())
            for one, other in zip(self._expected, plain, strict=True)
        )

    def check_factors(self, name: str, factors: Factors, scale: float) -> ParityCheck:
        """Compare factors that were read back from a file.

        Raises:
            ParityError: logits differ by `TOLERANCE` or more, or are not finite.
        """
        return self.check(name, lambda tokens: self._engine.logits(factors, scale, tokens))

    def check(self, name: str, logits: Logits) -> ParityCheck:
        """Compare any way to compute logits (T, V) of token ids.

        Raises:
            ParityError: logits differ by `TOLERANCE` or more, or are not finite.
        """
        difference = 0.0
        for tokens, expected in zip(self.token_lists, self._expected, strict=True):
            gap = (logits(tokens).float() - expected).abs()
            worst = float(gap.max())
            # A NaN compares as neither larger nor smaller.
            if not worst < TOLERANCE:
                raise ParityError(
                    f"{name}: logits differ from the package's by {worst:.3g}, allowed is less "
                    f"than {TOLERANCE:g}; nothing was exported"
                )
            difference = max(difference, worst)
        positions = sum(map(len, self.token_lists))
        return ParityCheck(name, difference, self._effect, len(self.token_lists), positions)


def token_lists(source: ExportSource) -> list[list[int]]:
    """The prompts as the base's tokenizer gives them, and ids from all over the vocabulary."""
    info, chat = source.base.info, source.chat
    texts = [chat.prompt_tokens([{"role": "user", "content": text}]) for text in PROMPTS]
    # The tokenizer may know few of the prompts' words; a stride prime to most sizes does not care.
    spread = [(7919 * place + 13) % info.vocab_size for place in range(_SPREAD_TOKENS)]
    limit = info.max_context
    return [tokens[:limit] for tokens in (*texts, spread) if tokens]
