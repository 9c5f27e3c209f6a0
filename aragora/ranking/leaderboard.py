"""Leaderboards and head-to-head records out of stored debates."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select

from aragora.memory.records import OVERALL
from aragora.memory.store import Memory
from aragora.memory.tables import RatingChangeRow
from aragora.ranking.bradley_terry import bradley_terry
from aragora.ranking.calibration import calibration_report
from aragora.ranking.rating import ELO, OPENSKILL

_LEVEL_Z = 1.959963984540054


@dataclass(frozen=True)
class LeaderboardEntry:
    """One agent in one domain; `skill` is openskill's mean with a 95% interval.

    `strength` is the Bradley-Terry log-strength; Brier and ECE are of its votes, by the verifier
    where there was one, else by outcomes (`calibration_basis`).
    """

    place: int
    agent: str
    elo: float
    games: int
    wins: int
    draws: int
    losses: int
    skill: float
    skill_low: float
    skill_high: float
    strength: float
    brier: float | None
    ece: float | None
    votes: int
    calibration_basis: str | None


def leaderboard(memory: Memory, *, domain: str = OVERALL) -> list[LeaderboardEntry]:
    """All rated agents of a domain ("" is overall), best Elo first."""
    skills = {r.agent: r for r in memory.standings.ratings(domain=domain, system=OPENSKILL)}
    strengths = bradley_terry(head_to_head(memory, domain=domain))
    entries: list[LeaderboardEntry] = []
    for place, rating in enumerate(memory.standings.ratings(domain=domain, system=ELO), 1):
        skill = skills[rating.agent]
        sigma = skill.sigma or 0.0
        basis, report = None, calibration_report([])
        for basis in ("verifier", "outcome"):
            seen = memory.standings.calibration(
                agent=rating.agent, domain=domain or None, basis=basis
            )
            report = calibration_report([(c.confidence, c.is_right) for c in seen])
            if report.count:
                break
        entries.append(
            LeaderboardEntry(
                place=place,
                agent=rating.agent,
                elo=rating.value,
                games=rating.games,
                wins=rating.wins,
                draws=rating.draws,
                losses=rating.losses,
                skill=skill.value,
                skill_low=skill.value - _LEVEL_Z * sigma,
                skill_high=skill.value + _LEVEL_Z * sigma,
                strength=strengths.get(rating.agent, 0.0),
                brier=report.brier,
                ece=report.ece,
                votes=report.count,
                calibration_basis=basis if report.count else None,
            )
        )
    return entries


def head_to_head(memory: Memory, *, domain: str = OVERALL) -> dict[tuple[str, str], float]:
    """How often one agent did better than another in a rated debate; draws are half for both."""
    row = RatingChangeRow
    query = select(row.debate_id, row.agent, row.score).where(
        row.system == ELO, row.domain == domain
    )
    by_debate: dict[str, list[tuple[str, float]]] = defaultdict(list)
    with memory.database.read() as session:
        for debate_id, agent, score in session.execute(query):
            by_debate[debate_id].append((agent, score))
    wins: dict[tuple[str, str], float] = defaultdict(float)
    for seated in by_debate.values():
        for agent, score in seated:
            for other, theirs in seated:
                if agent != other:
                    wins[agent, other] += 0.5 if score == theirs else float(score > theirs)
    return dict(wins)
