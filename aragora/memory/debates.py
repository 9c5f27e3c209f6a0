"""Storing and reading debates: begun, then added to turn by turn, then finished once.

A turn is durable when `add_message` returns, so that a killed debate goes on where it was. A turn
is said once: storing it again is an error of the caller. Nothing of a finished debate changes,
except that ratings, verdicts and training sets may come to refer to it, and that it can be deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from sqlalchemy import Row, Select, func, select, text, update
from sqlalchemy.orm import Session

from aragora.errors import NoSuchRecordError
from aragora.memory import tables
from aragora.memory.conversion import from_row, to_row
from aragora.memory.identity import subject_digest
from aragora.memory.records import (
    Critique,
    Debate,
    DebateState,
    Message,
    Outcome,
    Participant,
    Round,
    Split,
    Standing,
    Task,
    Verdict,
    Vote,
)
from aragora.memory.usage import link_subject
from tinker_engine.storage.database import Database

PAGE = 500
RecordT = TypeVar("RecordT")
# What a debate can be read without, by the names of `StoredDebate`.
PARTS = (
    "participants", "messages", "rounds", "critiques", "votes", "standings", "verdicts", "outcome",
)  # fmt: skip


@dataclass(frozen=True)
class StoredDebate:
    """Everything of one debate, in the order in which it came about."""

    debate: Debate
    task: Task
    participants: tuple[Participant, ...]
    messages: tuple[Message, ...]
    rounds: tuple[Round, ...]
    critiques: tuple[Critique, ...]
    votes: tuple[Vote, ...]
    standings: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]
    outcome: Outcome | None


@dataclass(frozen=True)
class DebateFilter:
    """Which debates to read; None and () are no condition. Times are when the debate began."""

    domain: str | None = None
    split: Split | None = None
    state: DebateState | None = "done"
    agent: str | None = None
    since: float | None = None
    until: float | None = None
    reached: bool | None = None
    min_confidence: float | None = None
    domains: tuple[str, ...] = ()
    splits: tuple[Split, ...] = ()


@dataclass(frozen=True)
class Ending:
    """What a debate's end adds to it."""

    outcome: Outcome
    standings: tuple[Standing, ...]
    ended_at: float
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


class DebateStore:
    """Debates in the database; one instance may be used from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        task: Task,
        debate: Debate,
        participants: Sequence[Participant],
        subjects: Collection[str] = (),
    ) -> None:
        """Store a debate that starts now and whose data it holds, with its task unless known."""
        with self._database.write() as session:
            self._database.lock(session, f"task {task.id}")
            if session.get(tables.TaskRow, task.id) is None:
                session.add(to_row(task, tables.TaskRow))
                session.flush()
            session.add(to_row(debate, tables.DebateRow))
            session.flush()
            session.add_all(to_row(p, tables.ParticipantRow) for p in participants)
            session.flush()
            # In one order, so that no two debates wait for each other.
            for subject in sorted(subjects, key=subject_digest):
                link_subject(self._database, session, subject, debate.id)

    def add_message(self, message: Message) -> Message:
        """Store one turn; gives it with its id."""
        with self._database.write() as session:
            row = to_row(message, tables.MessageRow)
            session.add(row)
            session.flush()
            return replace(message, id=row.id)

    def add_votes(self, votes: Sequence[Vote]) -> None:
        """Store votes; ones that are known already are left alone."""
        self._add_new(tables.VoteRow, votes)

    def add_critiques(self, critiques: Sequence[Critique]) -> None:
        """Store critiques; ones that are known already are left alone."""
        self._add_new(tables.CritiqueRow, critiques)

    def add_round(self, round_: Round) -> None:
        """Store how a round ended; a repetition replaces it."""
        with self._database.write() as session:
            session.merge(to_row(round_, tables.RoundRow))

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Store what verifiers said; the first verdict of a verifier on a message stays."""
        with self._database.write() as session:
            for verdict in verdicts:
                known = select(tables.VerdictRow.id).where(
                    tables.VerdictRow.message_id == verdict.message_id,
                    tables.VerdictRow.verifier == verdict.verifier,
                )
                if session.scalar(known) is None:
                    session.add(to_row(verdict, tables.VerdictRow))

    def judge_critique(self, critique: Critique) -> None:
        """Set what became of a critique's target: scores, basis, whether it improved."""
        with self._database.write() as session:
            session.merge(to_row(critique, tables.CritiqueRow))

    def finish(self, debate_id: str, ending: Ending) -> None:
        """Store the outcome and close the debate, all or nothing."""
        with self._database.write() as session:
            row = self._row(session, debate_id)
            row.state, row.ended_at = "done", ending.ended_at
            row.prompt_tokens, row.completion_tokens = (
                ending.prompt_tokens,
                ending.completion_tokens,
            )
            row.cost_usd, row.error = ending.cost_usd, None
            session.merge(to_row(ending.outcome, tables.OutcomeRow))
            for standing in ending.standings:
                session.merge(to_row(standing, tables.StandingRow))

    def fail(self, debate_id: str, error: str, at: float) -> None:
        """Close a debate that could not go on; what was said stays, and it can be resumed."""
        with self._database.write() as session:
            row = self._row(session, debate_id)
            row.state, row.error, row.ended_at = "failed", error, at

    def reopen(self, debate_id: str) -> None:
        """Mark a failed debate as running again."""
        with self._database.write() as session:
            session.execute(
                update(tables.DebateRow)
                .where(tables.DebateRow.id == debate_id, tables.DebateRow.state == "failed")
                .values(state="running", error=None, ended_at=None)
            )

    def get(self, debate_id: str) -> StoredDebate:
        """Everything of one debate; raises NoSuchRecordError."""
        with self._database.read() as session:
            return _load(session, [from_row(self._row(session, debate_id), Debate)])[0]

    def page(
        self,
        wanted: DebateFilter,
        *,
        after: str = "",
        limit: int = PAGE,
        parts: Collection[str] = PARTS,
    ) -> list[StoredDebate]:
        """Up to `limit` debates in the order of their ids, beginning behind `after`.

        What `parts` doesn't name is left empty, which is faster.
        """
        with self._database.read() as session:
            query = filtered(wanted).where(tables.DebateRow.id > after)
            query = query.order_by(tables.DebateRow.id).limit(limit)
            query = query.with_only_columns(*_columns(tables.DebateRow, Debate))
            return _load(session, [Debate(*row) for row in _rows(session, query)], parts)

    def iterate(
        self,
        wanted: DebateFilter,
        *,
        page: int = PAGE,
        after: str = "",
        parts: Collection[str] = PARTS,
    ) -> Iterator[StoredDebate]:
        """All matching debates, a page at a time: memory holds one page."""
        while found := self.page(wanted, after=after, limit=page, parts=parts):
            yield from found
            after = found[-1].debate.id

    def count(self, wanted: DebateFilter) -> int:
        """How many debates match."""
        with self._database.read() as session:
            counted = select(func.count()).select_from(filtered(wanted).subquery())
            return int(session.scalar(counted) or 0)

    def search(self, words: str, *, limit: int = 20) -> list[Message]:
        """Messages that hold all the words, best first; punctuation in them means nothing."""
        terms = ["".join(c for c in w if c.isalnum()) for w in words.split()]
        terms = [t for t in terms if t]
        if not terms:
            return []
        with self._database.read() as session:
            if session.get_bind().dialect.name == "postgresql":
                statement = (
                    "SELECT id FROM messages WHERE to_tsvector('simple', text) @@ "
                    "plainto_tsquery('simple', :q) ORDER BY ts_rank(to_tsvector('simple', text), "
                    "plainto_tsquery('simple', :q)) DESC, id LIMIT :n"
                )
                query = " ".join(terms)
            else:
                statement = (
                    "SELECT rowid FROM message_words WHERE message_words MATCH :q "
                    "ORDER BY rank, rowid LIMIT :n"
                )
                query = " ".join(f'"{t}"' for t in terms)
            ids = list(session.scalars(text(statement), {"q": query, "n": limit}))
            rows = session.scalars(
                select(tables.MessageRow).where(tables.MessageRow.id.in_(ids))
            ).all()
            by_id = {row.id: from_row(row, Message) for row in rows}
            return [by_id[i] for i in ids]

    def _add_new(self, row_type: Any, records: Sequence[Vote] | Sequence[Critique]) -> None:
        with self._database.write() as session:
            for record in records:
                if session.get(row_type, record.message_id) is None:
                    session.add(to_row(record, row_type))

    @staticmethod
    def _row(session: Session, debate_id: str) -> tables.DebateRow:
        row = session.get(tables.DebateRow, debate_id)
        if row is None:
            raise NoSuchRecordError(f"there is no debate {debate_id!r} in this database")
        return row


def _load(
    session: Session, debates: Sequence[Debate], parts: Collection[str] = PARTS
) -> list[StoredDebate]:
    """Whole debates with one query a table, however many debates there are."""
    ids = [debate.id for debate in debates]

    def by_debate(
        part: str, row_type: Any, record_type: type[RecordT], *order: Any
    ) -> dict[str, list[RecordT]]:
        grouped: dict[str, list[RecordT]] = {identity: [] for identity in ids}
        if part in parts:
            owner = row_type.__table__.c.debate_id.label("owner")
            query = select(owner, *_columns(row_type, record_type))
            query = query.where(row_type.debate_id.in_(ids)).order_by(*order)
            for row in _rows(session, query):
                grouped[row[0]].append(record_type(*row[1:]))
        return grouped

    query = select(*_columns(tables.TaskRow, Task))
    wanted = {debate.task_id for debate in debates}
    found = [Task(*row) for row in _rows(session, query.where(tables.TaskRow.id.in_(wanted)))]
    tasks = {task.id: task for task in found}
    message = tables.MessageRow
    participants = by_debate(
        "participants", tables.ParticipantRow, Participant, tables.ParticipantRow.seat
    )
    messages = by_debate("messages", message, Message, message.round, message.id)
    rounds = by_debate("rounds", tables.RoundRow, Round, tables.RoundRow.number)
    critiques = by_debate("critiques", tables.CritiqueRow, Critique, tables.CritiqueRow.message_id)
    votes = by_debate("votes", tables.VoteRow, Vote, tables.VoteRow.message_id)
    standings = by_debate("standings", tables.StandingRow, Standing, tables.StandingRow.seat)
    verdicts = by_debate("verdicts", tables.VerdictRow, Verdict, tables.VerdictRow.id)
    outcomes = by_debate("outcome", tables.OutcomeRow, Outcome)
    return [
        StoredDebate(
            debate=debate,
            task=tasks[debate.task_id],
            participants=tuple(participants[debate.id]),
            messages=tuple(messages[debate.id]),
            rounds=tuple(rounds[debate.id]),
            critiques=tuple(critiques[debate.id]),
            votes=tuple(votes[debate.id]),
            standings=tuple(standings[debate.id]),
            verdicts=tuple(verdicts[debate.id]),
            outcome=next(iter(outcomes[debate.id]), None),
        )
        for debate in debates
    ]


def _columns(row_type: Any, record_type: Any) -> list[Any]:
    """A record's fields as columns of the plain table, for `_rows`."""
    columns = row_type.__table__.c
    return [columns[field.name] for field in fields(record_type)]


def _rows(session: Session, query: Any) -> Sequence[Row[Any]]:
    """Rows past the mapper, which would make and track an object for each."""
    return session.connection().execute(query).fetchall()


def filtered(wanted: DebateFilter) -> Select[tables.DebateRow]:
    """The query for the debates that match."""
    debate, outcome = tables.DebateRow, tables.OutcomeRow
    query = select(debate)
    if wanted.domain is not None:
        query = query.where(debate.domain == wanted.domain)
    if wanted.domains:
        query = query.where(debate.domain.in_(wanted.domains))
    if wanted.splits:
        query = query.where(debate.split.in_(wanted.splits))
    if wanted.split is not None:
        query = query.where(debate.split == wanted.split)
    if wanted.state is not None:
        query = query.where(debate.state == wanted.state)
    if wanted.since is not None:
        query = query.where(debate.started_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(debate.started_at < wanted.until)
    if wanted.agent is not None:
        seated = select(tables.ParticipantRow.debate_id).where(
            tables.ParticipantRow.agent == wanted.agent
        )
        query = query.where(debate.id.in_(seated))
    if wanted.reached is not None or wanted.min_confidence is not None:
        query = query.join(outcome, outcome.debate_id == debate.id)
        if wanted.reached is not None:
            query = query.where(outcome.is_reached == wanted.reached)
        if wanted.min_confidence is not None:
            query = query.where(outcome.confidence >= wanted.min_confidence)
    return query
