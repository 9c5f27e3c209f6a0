"""What a database holds that could be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from aragora.memory import Memory, tables


@dataclass(frozen=True)
class Stock:
    """Counts of what exporters read: debates by state, finished ones by split and domain."""

    debates: dict[str, int]
    splits: dict[str, int]
    domains: dict[str, int]
    with_consensus: int
    with_confidence_08: int
    critiques_that_helped: int
    critiques: int
    patterns: int
    rated_agents: int
    gauntlet: dict[str, int]
    training_sets: int

    def lines(self) -> list[str]:
        """The counts for people."""
        return [
            f"debates            {_listed(self.debates)}",
            f"  finished, by split   {_listed(self.splits)}",
            f"  finished, by domain  {_listed(self.domains)}",
            f"  with a consensus     {self.with_consensus:,}",
            f"  with confidence 0.8  {self.with_confidence_08:,}",
            f"critiques          {self.critiques:,}, {self.critiques_that_helped:,} of them helped",
            f"patterns           {self.patterns:,}",
            f"rated agents       {self.rated_agents:,}",
            f"gauntlet trials    {_listed(self.gauntlet)}",
            f"training sets made {self.training_sets:,}",
        ]


def take_stock(memory: Memory) -> Stock:
    """Count everything, in the database."""
    debate, outcome = tables.DebateRow, tables.OutcomeRow
    is_done = debate.state == "done"
    with memory.database.read() as session:

        def grouped(column: Any, *conditions: Any) -> dict[str, int]:
            query = select(column, func.count()).where(*conditions).group_by(column)
            return {str(name): int(count) for name, count in session.execute(query).tuples()}

        def counted(row_type: Any, *conditions: Any) -> int:
            query = select(func.count()).select_from(row_type).where(*conditions)
            return int(session.scalar(query) or 0)

        rated = select(func.count(tables.RatingRow.agent.distinct()))
        return Stock(
            debates=grouped(debate.state),
            splits=grouped(debate.split, is_done),
            domains=grouped(debate.domain, is_done),
            with_consensus=counted(outcome, outcome.is_reached),
            with_confidence_08=counted(outcome, outcome.is_reached, outcome.confidence >= 0.8),
            critiques_that_helped=counted(tables.CritiqueRow, tables.CritiqueRow.improved),
            critiques=counted(tables.CritiqueRow),
            patterns=counted(tables.PatternRow),
            rated_agents=int(session.scalar(rated) or 0),
            gauntlet=grouped(tables.TrialRow.verdict),
            training_sets=counted(tables.TrainingSetRow),
        )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
