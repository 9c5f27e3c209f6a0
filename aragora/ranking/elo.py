"""Elo ratings of debates with any number of seats. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

START = 1500.0
K = 32.0


def expected_score(rating: float, opponent: float) -> float:
    """Chance of beating an opponent (draws half): 1 / (1 + 10^((Rb - Ra) / 400)) (Elo 1978)."""
    return 1.0 / (1.0 + 10.0 ** ((opponent - rating) / 400.0))


def multi_way(ratings: Sequence[float], places: Sequence[int], *, k: float = K) -> list[float]:
    """New ratings after one debate; place 1 is best, equal places are draws.

    Every pair is a game worth k / (n - 1), all from the ratings before: for two seats this is
    ordinary Elo, and the sum of all ratings never changes.
    """
    if len(ratings) != len(places):
        raise ValueError(f"{len(ratings)} ratings need as many places, not {len(places)}")
    if len(ratings) < 2:
        return list(ratings)
    share = k / (len(ratings) - 1)
    after = list(ratings)
    for i, (mine, place) in enumerate(zip(ratings, places, strict=True)):
        for j, (theirs, other) in enumerate(zip(ratings, places, strict=True)):
            if i != j:
                score = 0.5 if place == other else float(place < other)
                after[i] += share * (score - expected_score(mine, theirs))
    return after
