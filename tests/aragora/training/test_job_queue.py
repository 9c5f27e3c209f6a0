"""The queue: who may work on what, and that a job ends once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aragora.errors import JobError, NoSuchRecordError
from aragora.memory import Memory, new_id
from aragora.training.job_queue import JobQueue, Lease, LeaseLostError, QueueLimits
from aragora.training.job_records import JobSettings, JobStatus, TrainingJob
from aragora.training.job_work import TRAINING_SET, TrainingWork
from aragora.training.job_worker import JobControl, JobWorker
from aragora.training.model_registry import ModelRegistry
from evidence._postgres_cluster import NoPostgresError, running_cluster
from tinker_engine.errors import RequestError, ServerUnavailableError, StorageError

DONE = {"model_id": "m-v1"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'aragora[postgres]'")
    try:
        with running_cluster() as url:
            yield url
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    url = str(tmp_path / "jobs.sqlite3")
    if request.param == "postgresql":
        url = request.getfixturevalue("cluster")
    with Memory.open(url) as memory:
        yield memory
        if request.param == "postgresql":
            _empty(memory)


def _empty(memory: Memory) -> None:
    from sqlalchemy import delete

    from aragora.memory.tables import JobAttemptRow, JobDataRow, JobEventRow, JobRow

    with memory.database.write() as session:
        for table in (JobAttemptRow, JobDataRow, JobEventRow, JobRow):
            session.execute(delete(table))


def add(queue: JobQueue, job_id: str = "", **fields: Any) -> str:
    job = TrainingJob(
        job_id=job_id or new_id(),
        kind="sft",
        model=fields.pop("model", "nano"),
        adapter_name="",
        settings=JobSettings(),
        status=JobStatus.PENDING,
        priority=fields.pop("priority", 0),
        created_at=0.0,
        **fields,
    )
    return queue.add(job, {"sft": [{"prompt": "a", "completion": "b"}]}).job_id


def claimed(queue: JobQueue, worker: str = "w") -> Lease:
    lease = queue.claim(worker)
    assert lease is not None
    return lease


def test_a_job_is_claimed_worked_on_and_completed_once(jobs: Memory) -> None:
    queue = JobQueue(jobs)
    job_id = add(queue)
    lease = claimed(queue)
    assert queue.claim("other") is None
    assert queue.renew(lease, {"step": 1, "total": 2}) is False
    queue.log(lease, "half of it")
    assert queue.get(job_id).progress == {"step": 1, "total": 2}
    assert queue.data(job_id, "sft") == [{"prompt": "a", "completion": "b"}]
    assert queue.complete(lease, DONE).model_id == "m-v1"
    with pytest.raises(LeaseLostError):
        queue.complete(lease, DONE)
    told = [(e.status and e.status.value, e.text) for e in queue.events(job_id)]
    assert told == [
        ("pending", "scheduled"),
        ("running", "begun by w"),
        (None, "half of it"),
        ("completed", "completed"),
    ]
    assert [a.outcome for a in queue.attempts(job_id)] == ["completed"]


def test_priority_first_then_age(jobs: Memory) -> None:
    queue = JobQueue(jobs)
    add(queue, "first")
    add(queue, "second")
    add(queue, "urgent", priority=5)
    assert [claimed(queue).job.job_id for _ in range(3)] == ["urgent", "first", "second"]
    with pytest.raises(JobError, match="already"):
        add(queue, "first")
    with pytest.raises(NoSuchRecordError, match="urgent"):
        queue.get("unknown")


def test_limits_hold_for_all_workers_together(jobs: Memory) -> None:
    queue = JobQueue(jobs, limits=QueueLimits(running=2, per_model=1))
    for model in ("a", "a", "b", "c"):
        add(queue, model=model)
    assert [claimed(queue).job.model for _ in range(2)] == ["a", "b"]
    assert queue.claim("third") is None


def test_who_is_silent_loses_the_job_and_can_write_nothing_more(jobs: Memory) -> None:
    queue = JobQueue(jobs, lease_s=0.2)
    job_id = add(queue, max_failures=2)
    slow = claimed(queue, "slow")
    time.sleep(0.3)
    other = claimed(queue, "other")
    assert (other.job.job_id, other.attempt) == (job_id, 2)
    for write in (
        lambda: queue.complete(slow, DONE),
        lambda: queue.fail(slow, "x", may_retry=True),
        lambda: queue.renew(slow),
        lambda: queue.keep_data(slow, "sft", []),
    ):
        with pytest.raises(LeaseLostError):
            write()
    time.sleep(0.3)
    assert queue.claim("third") is None
    job = queue.get(job_id)
    assert (job.status, job.failures) == (JobStatus.FAILED, 2)
    assert [a.outcome for a in queue.attempts(job_id)] == ["lost", "lost"]
    assert "no sign of life" in job.error


def test_a_failure_that_may_pass_is_tried_again_later(jobs: Memory) -> None:
    queue = JobQueue(jobs, first_retry_s=0.5)
    job_id = add(queue)
    assert queue.fail(claimed(queue), "away", may_retry=True).status is JobStatus.PENDING
    assert queue.claim("too early") is None
    time.sleep(0.6)
    assert queue.fail(claimed(queue), "wrong", may_retry=False).status is JobStatus.FAILED
    assert [a.reason for a in queue.attempts(job_id)] == ["away", "wrong"]


def test_cancel_in_every_state(jobs: Memory) -> None:
    queue = JobQueue(jobs, first_retry_s=60.0)
    waiting = add(queue)
    assert queue.cancel(waiting)
    assert queue.get(waiting).status is JobStatus.CANCELLED
    retrying = add(queue)
    queue.fail(claimed(queue), "away", may_retry=True)
    assert queue.cancel(retrying)
    assert queue.get(retrying).status is JobStatus.CANCELLED
    running = add(queue)
    lease = claimed(queue)
    assert queue.cancel(running)
    assert queue.get(running).status is JobStatus.RUNNING
    assert queue.renew(lease) is True
    assert queue.cancelled(lease).status is JobStatus.CANCELLED
    failing = add(queue)
    lease = claimed(queue)
    queue.cancel(failing)
    assert queue.fail(lease, "away", may_retry=True).status is JobStatus.CANCELLED
    done = add(queue)
    queue.complete(claimed(queue), DONE)
    for over in (waiting, retrying, running, failing, done):
        assert not queue.cancel(over)
    assert queue.get(done).status is JobStatus.COMPLETED


def test_a_cancelled_job_whose_worker_is_gone_ends_cancelled(jobs: Memory) -> None:
    queue = JobQueue(jobs, lease_s=0.1)
    job_id = add(queue)
    claimed(queue)
    queue.cancel(job_id)
    time.sleep(0.2)
    assert queue.claim("other") is None
    assert queue.get(job_id).status is JobStatus.CANCELLED


def test_many_workers_do_no_work_twice(jobs: Memory) -> None:
    queue = JobQueue(jobs)
    expected = {add(queue) for _ in range(20)}
    begun: list[str] = []

    def work(control: JobControl) -> dict[str, Any]:
        begun.append(control.lease.job.job_id)
        control.tell({"step": 1, "total": 1})
        return DONE

    def run(number: int) -> int:
        return JobWorker(queue, work, name=f"w{number}").run(threading.Event(), until_idle=True)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 20
    assert sorted(begun) == sorted(expected)
    assert {job.status for job in queue.jobs()} == {JobStatus.COMPLETED}


def test_a_worker_tells_passing_failures_from_lasting_ones(jobs: Memory) -> None:
    queue = JobQueue(jobs, first_retry_s=60.0)
    stop = threading.Event()
    for error, status in (
        (ServerUnavailableError("away"), JobStatus.PENDING),
        (RequestError("no such thing"), JobStatus.FAILED),
        (ValueError("a bug"), JobStatus.FAILED),
        (OSError("disk"), JobStatus.PENDING),
    ):
        job_id = add(queue)

        def work(_control: JobControl, error: Exception = error) -> dict[str, Any]:
            raise error

        JobWorker(queue, work).run(stop, until_idle=True)
        job = queue.get(job_id)
        assert job.status is status
        assert job.error == f"{type(error).__name__}: {error}"


def test_a_stopping_worker_gives_its_job_back(jobs: Memory) -> None:
    queue, stop = JobQueue(jobs), threading.Event()
    job_id = add(queue)

    def work(control: JobControl) -> dict[str, Any]:
        stop.set()
        control.tell({"step": 1, "total": 9})
        raise AssertionError("it went on")

    JobWorker(queue, work).run(stop)
    job = queue.get(job_id)
    assert (job.status, job.failures, job.attempts) == (JobStatus.PENDING, 0, 1)


def test_a_cancelled_job_stops_at_its_next_step(jobs: Memory) -> None:
    queue, stop = JobQueue(jobs, lease_s=0.8), threading.Event()
    job_id = add(queue)

    def work(control: JobControl) -> dict[str, Any]:
        queue.cancel(job_id)
        for step in range(1, 400):
            time.sleep(0.05)
            control.tell({"step": step, "total": 400})
        raise AssertionError("it went on")

    JobWorker(queue, work).run(stop, until_idle=True)
    assert queue.get(job_id).status is JobStatus.CANCELLED


def test_a_slow_worker_leaves_the_state_of_the_one_that_goes_on(
    jobs: Memory, tmp_path: Path
) -> None:
    queue = JobQueue(jobs, lease_s=0.2)
    add(queue)
    slow = JobControl(queue, claimed(queue, "slow"), threading.Event())
    time.sleep(0.3)
    other = JobControl(queue, claimed(queue, "other"), threading.Event())
    work = TrainingWork(jobs, ModelRegistry(tmp_path / "models.json"), tmp_path / "jobs")
    home = tmp_path / "jobs" / "one"
    (home / "attempt-2").mkdir(parents=True)
    with pytest.raises(LeaseLostError):
        work._put_away(slow, home)
    assert (home / "attempt-2").is_dir()
    work._put_away(other, home)
    assert not home.exists()


def test_states_of_other_records_are_not_gone_on_from(jobs: Memory, tmp_path: Path) -> None:
    queue = JobQueue(jobs, lease_s=0.2)
    job_id = add(queue)
    work = TrainingWork(jobs, ModelRegistry(tmp_path / "models.json"), tmp_path / "jobs")

    def attempt(training_set: str) -> Path:
        control = JobControl(queue, claimed(queue), threading.Event())
        folder = work._begin_attempt(control, training_set)
        time.sleep(0.3)
        return folder

    first = attempt("a" * 64)
    (first / "state.json").write_text("learned")
    assert (attempt("a" * 64) / "state.json").read_text() == "learned"
    # Since then a debate was deleted.
    assert [path.name for path in attempt("b" * 64).iterdir()] == [TRAINING_SET]
    assert not first.exists()
    assert "the records have changed" in str([e.text for e in queue.events(job_id)])


def test_a_database_that_is_away_at_the_end_takes_no_worker_down(jobs: Memory) -> None:
    class AwayQueue(JobQueue):
        def complete(self, lease: Lease, result: dict[str, Any]) -> TrainingJob:
            raise StorageError("away")

        def fail(self, lease: Lease, reason: str, *, may_retry: bool) -> TrainingJob:
            raise StorageError("still away")

    # Long enough that the worker, however slow, doesn't take its own job back before it looks.
    queue = AwayQueue(jobs, lease_s=3.0)
    job_id = add(queue)
    worker = JobWorker(queue, lambda _control: DONE)
    assert worker.run(threading.Event(), until_idle=True) == 1
    assert queue.get(job_id).status is JobStatus.RUNNING
    time.sleep(3.1)
    assert claimed(JobQueue(jobs)).attempt == 2
