"""Laws of the log on disk: nothing half-written is read, and nothing that is needed is deleted."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tinker_engine.errors import StorageError
from tinker_engine.runtime.futures import Failure, Outcome
from tinker_engine.runtime.records import LossOutput
from tinker_engine.runtime.run_journal import LoggedRequest, RunJournal
from tinker_engine.runtime.run_log import RunLog
from tinker_engine.runtime.sample_log import SampleLog
from tinker_engine.runtime.stored_outcomes import read_outcome, write_outcome


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A disk that refuses: the system itself cuts writes at this size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(log: RunLog) -> list[object]:
    return [(entry.header["n"], log.blob(entry)) for entry in log.read()]


def test_a_refused_record_is_not_there_and_the_next_one_is(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log")
    log.append({"n": 1}, b"one")
    with files_no_larger_than(100):
        with pytest.raises(StorageError, match="can't be written"):
            log.append({"n": 2}, bytes(500))
        log.append_later({"n": 3}, bytes(200))
    assert names(log) == [(1, b"one")]
    log.append({"n": 4}, b"four")
    # What could wait was written first.
    assert names(log) == [(1, b"one"), (3, bytes(200)), (4, b"four")]


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_reading_stops_at_a_damaged_record(tmp_path: Path, damage: str) -> None:
    log = RunLog(tmp_path)
    for number in range(3):
        log.append({"n": number}, b"content")
    file = next(tmp_path.glob("*.log"))
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[-1:]
    else:
        content[-1] ^= 1
    file.write_bytes(content)
    later = RunLog(tmp_path)
    assert [n for n, _ in names(later)] == [0, 1]  # type: ignore[misc]
    later.append({"n": 9})
    assert [n for n, _ in names(later)] == [0, 1, 9]  # type: ignore[misc]


def test_segments_stay_until_state_and_answers_need_them_no_more(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    journal = RunJournal(log)
    journal.accept("a", 1, "d", LoggedRequest("optim_step"))
    journal.accept("b", 2, "d", LoggedRequest("optim_step"))
    journal.done("a", 1, {})
    log.begin_segment({"t": "mark", "n": 1, "next_seq": 2})
    # This segment holds no request of its own, but says that b came before c.
    journal.done("b", 2, {})
    log.begin_segment({"t": "mark", "n": 2, "next_seq": 3})
    journal.accept("c", 3, "d", LoggedRequest("optim_step"))
    journal.done("c", 3, {})
    journal.tidy(1, lambda _: False)
    _, requests = RunJournal.open(RunLog(tmp_path))
    assert [(r.request_id, r.ordinal) for r in requests] == [("a", 1), ("b", 2), ("c", 3)]
    journal.tidy(2, lambda name: name == "b")
    _, requests = RunJournal.open(RunLog(tmp_path))
    assert [r.request_id for r in requests] == ["c"]
    again, _ = RunJournal.open(RunLog(tmp_path))
    assert (again.ordinal, again.next_seq) == (3, 4)


@pytest.mark.parametrize(
    "outcome",
    [
        Failure("no", "user"),
        {"type": "optim_step", "metrics": {"step": 1.0}},
        LossOutput([], [], 0.0),
        LossOutput(
            [np.arange(3, dtype=np.float32), np.ones((2, 4), dtype=np.float32)],
            [np.zeros(3, dtype=np.float32), np.full((2, 4), np.nan, dtype=np.float32)],
            1.5,
            {"loss:sum": 1.5},
        ),
    ],
)
def test_outcomes_come_back_as_they_were(outcome: Outcome) -> None:
    again = read_outcome(*write_outcome(outcome))
    if not isinstance(outcome, LossOutput):
        assert again == outcome
        return
    assert isinstance(again, LossOutput)
    assert (again.loss_sum, again.metrics) == (outcome.loss_sum, outcome.metrics)
    for ours, theirs in (
        (again.logprobs, outcome.logprobs),
        (again.elementwise_loss, outcome.elementwise_loss),
    ):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_samples_are_lost_unless_fetched_or_sent_again(tmp_path: Path) -> None:
    first = SampleLog(tmp_path)
    for name in ("s:sample:0:1", "s:sample:0:2", "s:sample:0:3", "s:sample:1:1"):
        first.accept(name)
    first.settle("s:sample:0:2")
    second = SampleLog(tmp_path)
    assert second.lost("s:sample:0") == ["s:sample:0:1", "s:sample:0:3"]
    second.accept("s:sample:0:1")
    second.forget("s:sample:1")
    assert SampleLog(tmp_path).lost("s:sample:0") == ["s:sample:0:1", "s:sample:0:3"]
    assert SampleLog(tmp_path).lost("s:sample:1") == []
