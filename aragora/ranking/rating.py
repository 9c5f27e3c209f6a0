"""Moving ratings by a finished debate: Elo and openskill, overall and in its domain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from aragora.memory.debates import StoredDebate
from aragora.memory.records import OVERALL, Rating, RatingChange
from aragora.memory.standings import KnownRating, RatingStep
from aragora.memory.store import Memory
from aragora.ranking.elo import START, multi_way

ELO, OPENSKILL = "elo", "openskill"
SKILL_MU, SKILL_SIGMA = 25.0, 25.0 / 3.0


class _Seated(NamedTuple):
    agent: str
    adapter_digest: str | None
    place: int
    score: float


def rate_debate(memory: Memory, debate_id: str) -> bool:
    """Move the ratings of a finished debate's proposers; False when there is nothing to rate.

    Nothing is rated twice, nor without a consensus, nor when fewer than two agents took part. An
    agent on several seats counts once, by its best.
    """
    stored = memory.debates.get(debate_id)
    outcome = stored.outcome
    if outcome is None or not outcome.is_reached:
        return False
    seated = _agents(stored)
    if len(seated) < 2:
        return False

    def step(known: KnownRating) -> RatingStep:
        ratings: list[Rating] = []
        changes: list[RatingChange] = []
        for domain in dict.fromkeys((OVERALL, stored.debate.domain)):
            for system, rate in ((ELO, _elo), (OPENSKILL, _openskill)):
                before = [
                    known(s.agent, domain, system) or _new(s.agent, domain, system) for s in seated
                ]
                after = rate(before, [s.place for s in seated])
                for seat, old, new in zip(seated, before, after, strict=True):
                    ratings.append(_counted(new, seat, seated))
                    changes.append(_change(debate_id, seat, old, new))
        return ratings, changes

    return memory.standings.move(debate_id, step)


def _agents(stored: StoredDebate) -> list[_Seated]:
    best: dict[str, _Seated] = {}
    by_seat = {p.seat: p for p in stored.participants}
    for standing in stored.standings:
        who = by_seat[standing.seat]
        known = best.get(who.agent)
        if known is None or standing.place < known.place:
            best[who.agent] = _Seated(who.agent, who.adapter_digest, standing.place, standing.score)
    return list(best.values())


def _new(agent: str, domain: str, system: str) -> Rating:
    if system == ELO:
        return Rating(agent, domain, system, START)
    return Rating(agent, domain, system, SKILL_MU, SKILL_SIGMA)


def _elo(before: Sequence[Rating], places: Sequence[int]) -> list[Rating]:
    values = multi_way([r.value for r in before], places)
    return [replace(r, value=v) for r, v in zip(before, values, strict=True)]


def _openskill(before: Sequence[Rating], places: Sequence[int]) -> list[Rating]:
    """Plackett-Luce (Weng and Lin 2011) with mean `value` and standard deviation `sigma`."""
    from openskill.models import PlackettLuce

    model: Any = PlackettLuce(mu=SKILL_MU, sigma=SKILL_SIGMA)
    teams = [[model.rating(mu=r.value, sigma=r.sigma)] for r in before]
    rated = model.rate(teams, ranks=[float(p) for p in places])
    return [
        replace(r, value=float(team[0].mu), sigma=float(team[0].sigma))
        for r, team in zip(before, rated, strict=True)
    ]


def _counted(rating: Rating, seat: _Seated, seated: Sequence[_Seated]) -> Rating:
    """One more debate: won if nobody was ahead and somebody behind, drawn if all were equal."""
    places = [s.place for s in seated]
    is_best = seat.place == min(places)
    is_draw = min(places) == max(places)
    return replace(
        rating,
        games=rating.games + 1,
        wins=rating.wins + int(is_best and not is_draw),
        draws=rating.draws + int(is_draw),
        losses=rating.losses + int(not is_best),
        updated_at=time.time(),
    )


def _change(debate_id: str, seat: _Seated, old: Rating, new: Rating) -> RatingChange:
    return RatingChange(
        debate_id=debate_id,
        agent=seat.agent,
        adapter_digest=seat.adapter_digest,
        domain=old.domain,
        system=old.system,
        before=old.value,
        after=new.value,
        sigma_before=old.sigma,
        sigma_after=new.sigma,
        score=seat.score,
        at=time.time(),
    )
