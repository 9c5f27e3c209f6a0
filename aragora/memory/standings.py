"""Storing and reading what debates show about agents: ratings, calibration, patterns, adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Integer, Select, cast, exists, func, select
from sqlalchemy.orm import Session

from aragora.memory import tables
from aragora.memory.conversion import from_row, to_row
from aragora.memory.debates import DebateFilter, filtered
from aragora.memory.identity import digest_of
from aragora.memory.records import (
    OVERALL,
    AgentEvent,
    Calibration,
    Critique,
    Pattern,
    Rating,
    RatingChange,
)
from tinker_engine.storage.database import Database

KnownRating = Callable[[str, str, str], Rating | None]
RatingStep = tuple[Sequence[Rating], Sequence[RatingChange]]


class StandingStore:
    """Ratings, calibration, patterns and adapter events; safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rating(self, agent: str, domain: str, system: str) -> Rating | None:
        """A rating as it stands, None for an agent that was never rated there."""
        with self._database.read() as session:
            row = session.get(tables.RatingRow, (agent, domain, system))
            return None if row is None else from_row(row, Rating)

    def ratings(self, *, domain: str = OVERALL, system: str = "elo") -> list[Rating]:
        """All ratings of a domain, best first."""
        with self._database.read() as session:
            query = (
                select(tables.RatingRow)
                .where(tables.RatingRow.domain == domain, tables.RatingRow.system == system)
                .order_by(tables.RatingRow.value.desc(), tables.RatingRow.agent)
            )
            return [from_row(row, Rating) for row in session.scalars(query)]

    def domains(self) -> list[str]:
        """Domains with at least one rating, without the overall one."""
        with self._database.read() as session:
            query = select(tables.RatingRow.domain).distinct().order_by(tables.RatingRow.domain)
            return [name for name in session.scalars(query) if name != OVERALL]

    def apply(self, ratings: Sequence[Rating], changes: Sequence[RatingChange]) -> None:
        """Set ratings and write the steps that led there, all or nothing.

        A debate that was rated before raises IntegrityError: nothing is counted twice.
        """
        with self._database.write() as session:
            _put_ratings(session, ratings, changes)

    def move(self, debate_id: str, step: Callable[[KnownRating], RatingStep]) -> bool:
        """Let a debate move ratings, once: read, `step` and write are one transaction.

        `step` is given ratings as they stand by agent, domain and system. No other move runs
        beside, so that none is lost and histories join up. False when it was rated before.
        """
        with self._database.write() as session:
            self._database.lock(session, "ratings")
            rated = select(tables.RatingChangeRow.id).where(
                tables.RatingChangeRow.debate_id == debate_id
            )
            if session.scalar(rated.limit(1)) is not None:
                return False

            def known(agent: str, domain: str, system: str) -> Rating | None:
                row = session.get(tables.RatingRow, (agent, domain, system))
                return None if row is None else from_row(row, Rating)

            _put_ratings(session, *step(known))
            return True

    def history(
        self, agent: str, *, domain: str = OVERALL, system: str = "elo"
    ) -> list[RatingChange]:
        """Every step of one rating, oldest first."""
        with self._database.read() as session:
            row = tables.RatingChangeRow
            query = (
                select(row)
                .where(row.agent == agent, row.domain == domain, row.system == system)
                .order_by(row.id)
            )
            return [from_row(r, RatingChange) for r in session.scalars(query)]

    def add_calibration(self, observations: Sequence[Calibration]) -> None:
        """Store confidences with what came true; one per message and basis."""
        row = tables.CalibrationRow
        with self._database.write() as session:
            for seen in observations:
                known = select(row.id).where(
                    row.message_id == seen.message_id, row.basis == seen.basis
                )
                if seen.message_id is None or session.scalar(known) is None:
                    session.add(to_row(seen, row))

    def calibration(
        self, *, agent: str | None = None, domain: str | None = None, basis: str | None = None
    ) -> list[Calibration]:
        """Observations, oldest first."""
        row = tables.CalibrationRow
        query = select(row).order_by(row.id)
        if agent is not None:
            query = query.where(row.agent == agent)
        if domain:
            query = query.where(row.domain == domain)
        if basis is not None:
            query = query.where(row.basis == basis)
        with self._database.read() as session:
            return [from_row(r, Calibration) for r in session.scalars(query)]

    def count_pattern(self, critique: Critique, domain: str, at: float) -> None:
        """Count a judged critique for its pattern, once; without an issue it is left out."""
        if not critique.issue or critique.improved is None:
            return
        pattern_id = digest_of([domain, _folded(critique.issue), _folded(critique.suggestion)])
        with self._database.write() as session:
            self._database.lock(session, f"pattern {pattern_id}")
            if session.get(tables.PatternUseRow, critique.message_id) is not None:
                return
            row = session.get(tables.PatternRow, pattern_id)
            if row is None:
                row = tables.PatternRow(
                    id=pattern_id,
                    domain=domain,
                    issue=critique.issue,
                    suggestion=critique.suggestion,
                    uses=0,
                    successes=0,
                    first_at=at,
                    last_at=at,
                )
                session.add(row)
                session.flush()
            row.uses += 1
            row.successes += int(critique.improved)
            row.last_at = at
            session.add(
                tables.PatternUseRow(
                    message_id=critique.message_id,
                    pattern_id=pattern_id,
                    debate_id=critique.debate_id,
                    succeeded=critique.improved,
                )
            )

    def patterns(self, *, domain: str | None = None, min_uses: int = 1) -> list[Pattern]:
        """Patterns, the most often successful first."""
        row = tables.PatternRow
        query = select(row).where(row.uses >= min_uses)
        if domain is not None:
            query = query.where(row.domain == domain)
        query = query.order_by(row.successes.desc(), row.uses.desc(), row.id)
        with self._database.read() as session:
            return [from_row(r, Pattern) for r in session.scalars(query)]

    def patterns_without_keys(self, wanted: DebateFilter) -> list[Pattern]:
        """All patterns, counted in the matching debates alone, the most often successful first.

        Uses, successes and times are those of critiques that no answer key scored; a pattern
        without any has 0 uses.
        """
        row, use, debate = tables.PatternRow, tables.PatternUseRow, tables.DebateRow
        counted = _uses_without_keys(wanted).with_only_columns(
            use.pattern_id,
            func.count().label("uses"),
            func.sum(cast(use.succeeded, Integer)).label("successes"),
            func.min(debate.ended_at).label("first_at"),
            func.max(debate.ended_at).label("last_at"),
        )
        counted = counted.group_by(use.pattern_id).subquery()
        columns = counted.c
        query = select(
            row, columns.uses, columns.successes, columns.first_at, columns.last_at
        ).outerjoin(counted, columns.pattern_id == row.id)
        with self._database.read() as session:
            found = [
                replace(
                    from_row(pattern, Pattern),
                    uses=uses or 0,
                    successes=successes or 0,
                    first_at=first_at or 0.0,
                    last_at=last_at or 0.0,
                )
                for pattern, uses, successes, first_at, last_at in session.execute(query)
            ]
        return sorted(found, key=lambda p: (-p.successes, -p.uses, p.id))

    def debates_of_pattern(self, pattern_id: str, wanted: DebateFilter, limit: int) -> list[str]:
        """The first debates behind a pattern's uses, as `patterns_without_keys` counts them."""
        use = tables.PatternUseRow
        query = _uses_without_keys(wanted).with_only_columns(use.debate_id)
        query = query.where(use.pattern_id == pattern_id).order_by(use.message_id).limit(limit)
        with self._database.read() as session:
            return list(dict.fromkeys(session.scalars(query)))

    def add_event(self, event: AgentEvent) -> None:
        """Log what happened to an agent's adapters."""
        with self._database.write() as session:
            session.add(to_row(event, tables.AgentEventRow))

    def events(self, agent: str) -> list[AgentEvent]:
        """An agent's adapter events, oldest first."""
        row = tables.AgentEventRow
        with self._database.read() as session:
            query = select(row).where(row.agent == agent).order_by(row.id)
            return [from_row(r, AgentEvent) for r in session.scalars(query)]


def _put_ratings(
    session: Session, ratings: Sequence[Rating], changes: Sequence[RatingChange]
) -> None:
    session.add_all(to_row(change, tables.RatingChangeRow) for change in changes)
    session.flush()
    for rating in ratings:
        session.merge(to_row(rating, tables.RatingRow))


def _uses_without_keys(wanted: DebateFilter) -> Select[Any]:
    use, debate = tables.PatternUseRow, tables.DebateRow
    critique, verdict = tables.CritiqueRow, tables.VerdictRow
    scored_by_key = exists().where(
        critique.message_id == use.message_id,
        critique.basis == "verifier",
        verdict.debate_id == use.debate_id,
        verdict.uses_key,
    )
    return filtered(wanted).join(use, use.debate_id == debate.id).where(~scored_by_key)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
