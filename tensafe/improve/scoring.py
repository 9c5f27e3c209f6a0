"""How good each logged answer was: by what people said, else by how sure the adapter is of it.

Every interaction is judged by itself, so that adding or removing one changes no other's verdict:
that is what lets new records compose in parallel in a private run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tensafe.evaluate.model import AnsweringModel
from tensafe.evaluate.normalise import normalised
from tensafe.improve.interactions import Interaction

Verdict = Literal["bad", "doubtful", "good", "unrated"]
GOOD, BAD = 0.75, 0.5
_BATCH = 64


@dataclass(frozen=True)
class Scored:
    """One interaction with its verdict.

    `confidence` is the geometric mean probability of the answer's tokens under the current
    adapter, None where people had said enough.
    """

    interaction: Interaction
    verdict: Verdict
    confidence: float | None = None

    @property
    def is_weak(self) -> bool:
        """Whether a better answer is looked for."""
        return self.verdict in ("bad", "doubtful")


def score_interactions(
    interactions: Sequence[Interaction], model: AnsweringModel, *, low_confidence: float
) -> list[Scored]:
    """Verdicts in order; the model is asked for the likelihood of answers that nobody judged."""
    verdicts: list[Verdict] = [verdict_of(one) for one in interactions]
    open_ones = [place for place, verdict in enumerate(verdicts) if verdict == "unrated"]
    scored = [Scored(one, verdict) for one, verdict in zip(interactions, verdicts, strict=True)]
    for start in range(0, len(open_ones), _BATCH):
        places = open_ones[start : start + _BATCH]
        pairs = [(interactions[i].prompt, interactions[i].answer) for i in places]
        for place, logprobs in zip(places, model.completion_logprobs_many(pairs), strict=True):
            confidence = math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else 0.0
            verdict: Verdict = "doubtful" if confidence < low_confidence else "unrated"
            scored[place] = Scored(interactions[place], verdict, confidence)
    return scored


def verdict_of(one: Interaction) -> Verdict:
    """What people said: an edit that changes the answer, or a remark, makes it bad."""
    feedback = one.feedback
    if feedback.edit:
        return "good" if normalised(feedback.edit) == normalised(one.answer) else "bad"
    if feedback.rating is not None:
        if feedback.rating >= GOOD:
            return "good"
        return "bad" if feedback.rating < BAD or feedback.correction else "unrated"
    return "bad" if feedback.correction else "unrated"


def count_verdicts(scored: Sequence[Scored]) -> dict[str, int]:
    """How many there are of each verdict."""
    return dict(Counter(one.verdict for one in scored))
