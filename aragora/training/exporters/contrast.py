"""Whether two answers differ in what they say, so that preferring one teaches something.

Left out are answers that are the same but for case, spacing and punctuation, nearly the same ones,
and ones of which one holds the other and only goes on for longer: a model would learn length. Short
answers with different values ("12" and "13") always differ in what they say.
"""

from __future__ import annotations

from aragora.training.exporters.keys import plain_form
from tensafe.curate.near import jaccard, shingles

_SHORT_CHARS = 32
_CONTAINED = 0.95


def lacks_contrast(
    one: str, other: str, *, max_similarity: float, differ_in_answer: bool = False
) -> str | None:
    """Why a pair of answers teaches nothing, None where it does.

    `differ_in_answer` says that the answers read out of the two texts are known to differ.
    """
    first, second = plain_form(one), plain_form(other)
    if first == second:
        return "the two answers are the same"
    if differ_in_answer and min(len(first), len(second)) < _SHORT_CHARS:
        return None
    left, right = shingles(first), shingles(second)
    if jaccard(left, right) >= max_similarity:
        return "the two answers are nearly the same"
    shorter = min(len(left), len(right))
    if len(left & right) >= _CONTAINED * shorter and shorter >= 8:
        return "one answer is the other at greater length"
    return None
