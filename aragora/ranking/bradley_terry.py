"""Bradley-Terry strengths from all pairs of debates at once, where Elo goes one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_TOLERANCE = 1e-10
_MAX_STEPS = 10_000


def bradley_terry(wins: Mapping[tuple[str, str], float], *, prior: float = 0.1) -> dict[str, float]:
    """Log-strengths with mean 0; the chance that a beats b is 1 / (1 + exp(s_b - s_a)).

    `wins[a, b]` counts how often a beat b, draws as half a win for both. `prior` wins are added
    each way against an opponent of strength 0, so that unbeaten agents stay finite. The MM
    iteration of Hunter (2004), "MM algorithms for generalized Bradley-Terry models", eq. 3.
    """
    names = sorted({name for pair in wins for name in pair})
    games: dict[str, dict[str, float]] = {name: {} for name in names}
    won = dict.fromkeys(names, prior)
    for (winner, loser), count in wins.items():
        won[winner] += count
        games[winner][loser] = games[winner].get(loser, 0.0) + count
        games[loser][winner] = games[loser].get(winner, 0.0) + count
    strength = dict.fromkeys(names, 1.0)
    for _ in range(_MAX_STEPS):
        new = {name: won[name] / _denominator(name, games[name], strength, prior) for name in names}
        moved = max((abs(math.log(new[n]) - math.log(strength[n])) for n in names), default=0.0)
        strength = new
        if moved < _TOLERANCE:
            break
    return _centred(names, strength)


def _denominator(
    name: str, games: Mapping[str, float], strength: Mapping[str, float], prior: float
) -> float:
    total = 2.0 * prior / (strength[name] + 1.0)
    for other, count in games.items():
        total += count / (strength[name] + strength[other])
    return total


def _centred(names: Sequence[str], strength: Mapping[str, float]) -> dict[str, float]:
    logs = {name: math.log(strength[name]) for name in names}
    mean = sum(logs.values()) / len(logs) if logs else 0.0
    return {name: value - mean for name, value in logs.items()}
