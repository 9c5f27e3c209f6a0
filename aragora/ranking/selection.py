"""Which agent, with which adapter, for which debate: a table from what was measured.

    python -m aragora.ranking.selection --database aragora.sqlite3

One row for each domain, agent and adapter that debated there, best first: the Elo rating after its
last rated debate, how many debates that rests on, and the share of its final answers that a
verifier found right, where one looked. A rating of few debates is told as such: it is hardly more
than its start.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from sqlalchemy import select

from aragora.memory import tables
from aragora.memory.store import Memory
from aragora.ranking.rating import ELO

FEW_DEBATES = 10


@dataclass(frozen=True)
class Choice:
    """One agent with one adapter in one domain; `right` is None where no verifier looked."""

    domain: str
    agent: str
    adapter_digest: str | None
    elo: float
    debates: int
    right: float | None
    checked: int

    @property
    def is_thin(self) -> bool:
        """Whether the rating rests on too few debates to choose by."""
        return self.debates < FEW_DEBATES


def choices(memory: Memory) -> list[Choice]:
    """All that were rated, by domain, best first."""
    change, verdict = tables.RatingChangeRow, tables.VerdictRow
    standing, seat = tables.StandingRow, tables.ParticipantRow
    last: dict[tuple[str, str, str | None], tuple[float, int]] = {}
    seen: dict[tuple[str, str, str | None], list[float]] = {}
    with memory.database.read() as session:
        rated = select(change.domain, change.agent, change.adapter_digest, change.after)
        for domain, agent, adapter, after in session.execute(
            rated.where(change.system == ELO, change.domain != "").order_by(change.id)
        ):
            _, count = last.get((domain, agent, adapter), (0.0, 0))
            last[domain, agent, adapter] = (after, count + 1)
        checked = (
            select(tables.DebateRow.domain, seat.agent, seat.adapter_digest, verdict.score)
            .join(standing, standing.final_message_id == verdict.message_id)
            .join(
                seat,
                (seat.debate_id == standing.debate_id) & (seat.seat == standing.seat),
            )
            .join(tables.DebateRow, tables.DebateRow.id == standing.debate_id)
        )
        for domain, agent, adapter, score in session.execute(checked):
            seen.setdefault((domain, agent, adapter), []).append(score)
    found: list[Choice] = []
    for key, (elo, count) in last.items():
        scores = seen.get(key, [])
        right = sum(scores) / len(scores) if scores else None
        found.append(Choice(*key, elo, count, right, len(scores)))
    return sorted(found, key=lambda c: (c.domain, c.is_thin, -c.elo, c.agent))


def table_of(found: list[Choice]) -> str:
    """The choices as a Markdown table."""
    lines = ["| domain | agent | adapter | Elo | debates | right |", "|---|---|---|---|---|---|"]
    for c in found:
        right = "" if c.right is None else f"{c.right:.0%} of {c.checked}"
        few = " (few)" if c.is_thin else ""
        adapter = (c.adapter_digest or "none")[:12]
        lines.append(
            f"| {c.domain} | {c.agent} | {adapter} | {c.elo:.0f} | {c.debates}{few} | {right} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the table; exit code 1 where nothing was rated yet."""
    parser = argparse.ArgumentParser(
        prog="python -m aragora.ranking.selection",
        description="Which agent and adapter for which debate, from measured ratings.",
    )
    parser.add_argument("--database", help="SQLAlchemy URL or SQLite file")
    args = parser.parse_args(argv)
    with Memory.open(args.database) as memory:
        found = choices(memory)
    print(table_of(found) if found else "nothing was rated yet: hold debates first")
    return 0 if found else 1


if __name__ == "__main__":
    raise SystemExit(main())
