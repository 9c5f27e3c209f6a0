"""The store: what goes in comes out, migrations match the tables, search, patterns, deletion."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from aragora.errors import MemoryStoreError, NoSuchRecordError
from aragora.memory import DebateFilter, Memory, answer_key, make_task, new_id
from aragora.memory.debates import Ending
from aragora.memory.records import (
    Calibration,
    Critique,
    Debate,
    Message,
    Outcome,
    Participant,
    Rating,
    RatingChange,
    Round,
    Standing,
    TrainingSet,
    TrainingSource,
    Verdict,
    Vote,
)
from aragora.training.job_queue import JobQueue
from aragora.training.job_records import JobSettings, JobStatus, TrainingJob
from aragora.training.training_scheduler import TrainingScheduler
from tinker_engine.storage.database import Database


def write_debate(memory: Memory, *, words: str = "the answer is blue", domain: str = "reading"):
    task = make_task("Which colour?", domain=domain)
    identity = new_id()
    debate = Debate(
        identity, task.id, domain, "train", "debate", "0" * 64, {"rounds": 1}, 7, "running",
        time.time(),
    )  # fmt: skip
    seats = [
        Participant(identity, n, name, "tinker", "proposer", "nano", elo_before=1500.0)
        for n, name in enumerate(("ann", "bob"))
    ]
    memory.debates.begin(task, debate, seats)
    said = []
    for phase, seat, target, text in (
        ("propose", 0, -1, words),
        ("propose", 1, -1, "red"),
        ("critique", 0, 1, "It is not red."),
        ("revise", 1, -1, "blue"),
        ("vote", 0, -1, "B"),
    ):
        message = Message(
            identity, 1, phase, seat, target, "ok", 1, text, 11, time.time(), 0.1,
            answer=text, answer_key=answer_key(text),
        )  # fmt: skip
        said.append(memory.debates.add_message(message))
    critique = Critique(said[2].id, identity, 0, 1, said[1].id, said[3].id, "Not red", "Say blue")
    memory.debates.add_critiques([critique])
    memory.debates.add_votes([Vote(said[4].id, identity, 1, 0, 1, 0.8)])
    memory.debates.add_round(Round(identity, 1, {"blue": 1}, 0.5, 1.0, 2.0))
    memory.debates.add_verdicts([Verdict(identity, said[3].id, "key", 1.0, True, 3.0)])
    outcome = Outcome(identity, "majority", True, "votes", 1, "blue", "blue", 0.8, 1.0, 1, "rounds")
    standings = (
        Standing(identity, 0, 2, 0.0, said[0].id, said[0].id),
        Standing(identity, 1, 1, 1.0, said[1].id, said[3].id),
    )
    memory.debates.finish(identity, Ending(outcome, standings, time.time(), 10, 20, 0.0))
    return identity, said, critique


def test_a_debate_comes_back_as_it_was_written(memory: Memory) -> None:
    identity, said, critique = write_debate(memory)
    stored = memory.debates.get(identity)
    assert list(stored.messages) == said
    assert stored.critiques == (critique,)
    assert stored.debate.state == "done"
    assert stored.debate.completion_tokens == 20
    assert stored.outcome is not None
    assert stored.outcome.winner_seat == 1
    assert [s.place for s in stored.standings] == [2, 1]
    assert stored.votes[0].choice_seat == 1
    assert stored.verdicts[0].uses_key


def test_nothing_is_said_twice(memory: Memory) -> None:
    _, said, _ = write_debate(memory)
    with pytest.raises(IntegrityError):
        memory.debates.add_message(said[0].__class__(**{**vars(said[0]), "id": 0}))


def test_pages_follow_each_other_without_gap_or_repetition(memory: Memory) -> None:
    ids = sorted(write_debate(memory)[0] for _ in range(7))
    assert [d.debate.id for d in memory.debates.iterate(DebateFilter(), page=3)] == ids
    assert memory.debates.count(DebateFilter(domain="reading", min_confidence=0.8)) == 7
    assert memory.debates.count(DebateFilter(min_confidence=0.9)) == 0
    assert memory.debates.count(DebateFilter(agent="nobody")) == 0


def test_search_finds_words_and_forgets_deleted_ones(memory: Memory) -> None:
    identity, said, _ = write_debate(memory, words='zebras "run" AND hide')
    assert [m.id for m in memory.debates.search("zebras run")] == [said[0].id]
    assert memory.debates.search('" OR (') == []
    memory.usage.delete_debates([identity], "test")
    assert memory.debates.search("zebras") == []


def test_a_pattern_counts_each_critique_once(memory: Memory) -> None:
    _, _, critique = write_debate(memory)
    judged = Critique(**{**vars(critique), "improved": True, "basis": "verifier"})
    for _ in range(2):
        memory.standings.count_pattern(judged, "reading", 1.0)
    (pattern,) = memory.standings.patterns()
    assert (pattern.issue, pattern.uses, pattern.successes) == ("Not red", 1, 1)


def test_a_debate_moves_ratings_once(memory: Memory) -> None:
    change = RatingChange("d", "ann", None, "", "elo", 1500, 1516, None, None, 1.0, 1.0)
    rating = Rating("ann", "", "elo", 1516, None, 1, 1, 0, 0, 1.0)
    memory.standings.apply([rating], [change])
    with pytest.raises(IntegrityError):
        memory.standings.apply([Rating("ann", "", "elo", 9999)], [change])
    assert memory.standings.ratings() == [rating]


def test_deleting_a_person_removes_their_debates_and_names_training_sets(memory: Memory) -> None:
    hers, said, critique = write_debate(memory, words="her words")
    other, _, _ = write_debate(memory, words="other words")
    judged = Critique(**{**vars(critique), "improved": True})
    memory.standings.count_pattern(judged, "reading", 1.0)
    memory.standings.add_calibration(
        [Calibration(hers, said[4].id, "ann", None, "reading", 0.8, True, "outcome", 1.0)]
    )
    made = TrainingSet("set-1", "sft", "0" * 64, 1, {}, 1.0)
    source = TrainingSource("set-1", 0, "completion", "message", str(said[3].id), hers)
    memory.usage.add_training_set(made, [source])
    memory.usage.link("Ann@Example.org ", hers)
    done = memory.usage.delete_subject("ann@example.org")
    assert (done.debates, done.training_sets) == (1, ["set-1"])
    with pytest.raises(NoSuchRecordError):
        memory.debates.get(hers)
    assert memory.debates.get(other).task.text == "Which colour?"
    assert memory.standings.patterns() == []
    assert memory.standings.calibration() == []
    assert memory.usage.training_sets_of([hers]) == [made]
    raw = Path(memory.url.removeprefix("sqlite:///")).read_bytes()
    assert b"example.org" not in raw


def test_deleted_debates_leave_the_records_of_training_jobs(memory: Memory) -> None:
    hers, _, _ = write_debate(memory, words="her words")
    other, _, _ = write_debate(memory, words="other words")
    queue = JobQueue(memory)
    rows = [
        record("her words", debate_id=hers),
        record("a pattern's words", uses=[other, hers]),
        record("other words", debate_id=other),
        {"prompt": "given", "completion": "by hand"},
    ]
    given = queue.add(pending_job("given"), {"sft": rows[2:], "dpo": rows}).job_id
    memory.usage.delete_debates([hers], "asked for")
    assert queue.data(given, "dpo") == queue.data(given, "sft") == rows[2:]
    told = [event.text for event in queue.events(given)]
    assert told == ["scheduled", "2 records of part dpo removed: their debates were deleted"]
    # An export that was read before the deletion and is stored after it.
    lease = queue.claim("worker")
    assert lease is not None
    assert queue.keep_data(lease, "sft", rows) == rows[2:]
    assert queue.data(given, "sft") == rows[2:]


def test_no_word_of_a_deleted_debate_stays_in_the_files(memory: Memory, tmp_path: Path) -> None:
    hers, _, _ = write_debate(memory, words="her quetzalcoatlus words")
    write_debate(memory, words="other words")
    JobQueue(memory).add(
        pending_job("one"), {"sft": [record("her quetzalcoatlus words", debate_id=hers)]}
    )
    # The word stands in a message, in the index of words and in a job's records.
    assert held(tmp_path).count(b"quetzalcoatlus") >= 3
    memory.usage.delete_debates([hers], "asked for")
    assert b"quetzalcoatlus" not in held(tmp_path)
    assert len(memory.debates.search("other words")) == 1


def test_a_job_that_was_given_an_export_forgets_its_words(memory: Memory, tmp_path: Path) -> None:
    hers, _, _ = write_debate(memory, words="her words")
    path = tmp_path / "sft.jsonl"
    path.write_text(json.dumps(record("her quetzalcoatlus words", debate_id=hers)))
    with TrainingScheduler(memory, workers=0) as scheduler:
        job = asyncio.run(scheduler.schedule_sft(training_data=path))
        path.unlink()
        assert b"quetzalcoatlus" in held(tmp_path)
        memory.usage.delete_debates([hers], "asked for")
        assert scheduler.queue.data(job.job_id, "sft") == []
    assert b"quetzalcoatlus" not in held(tmp_path)


def test_a_log_that_somebody_reads_is_told(
    memory: Memory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hers, _, _ = write_debate(memory, words="her quetzalcoatlus words")
    emptied = Database.empty_log
    monkeypatch.setattr(Database, "empty_log", lambda self: emptied(self, wait_s=0.1))
    with contextlib.closing(sqlite3.connect(tmp_path / "a.sqlite3")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        memory.usage.delete_debates([hers], "asked for")
        assert "until all have closed it" in caplog.text
        assert b"quetzalcoatlus" in held(tmp_path)
    assert memory.database.empty_log()
    assert b"quetzalcoatlus" not in held(tmp_path)


def held(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("a.sqlite3*")))


def record(words: str, *, debate_id: str | None = None, uses: list[str] | None = None):
    texts = [{"part": "completion", "debate_id": debate_id}]
    provenance = {"debate_id": debate_id, "uses": uses or [], "texts": texts}
    return {"messages": [{"role": "assistant", "content": words}], "provenance": provenance}


def pending_job(job_id: str) -> TrainingJob:
    return TrainingJob(job_id, "sft", "nano", "", JobSettings(), JobStatus.PENDING, 0, 0.0)


def test_the_migration_builds_exactly_the_tables(memory: Memory) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from aragora.memory.tables import Base

    with memory.database.read() as session:
        context = MigrationContext.configure(session.connection())
        differences = [
            d for d in compare_metadata(context, Base.metadata) if "message_words" not in str(d)
        ]
    assert differences == []


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(MemoryStoreError, match=r"notes\.txt"):
        Memory.open(str(tmp_path / "notes.txt"))
