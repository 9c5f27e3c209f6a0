"""Scheduling training jobs and waiting for them.

    scheduler = TrainingScheduler()
    job = await scheduler.schedule_sft(model="nano", adapter_name="aragora-v1", min_confidence=0.8)
    completed = await scheduler.wait_for_job(job.job_id)

Jobs are kept in aragora's database (`ARAGORA_DATABASE_URL`). A scheduler works on them itself, in
threads that begin with the first job and end when there is nothing to do; with `workers=0` it only
schedules, and `aragora jobs work` on any machine does the work. Both share one queue.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aragora.config import AragoraConfig
from aragora.errors import JobError, UsageError
from aragora.memory.identity import new_id
from aragora.memory.store import Memory
from aragora.training.exporters.options import (
    DPOOptions,
    ExportOptions,
    GauntletOptions,
    SFTOptions,
    read_options,
    without_replay,
)
from aragora.training.job_queue import FIRST_RETRY_S, JobQueue, QueueLimits
from aragora.training.job_records import (
    ExportSettings,
    JobAttempt,
    JobEvent,
    JobKind,
    JobSettings,
    JobStatus,
    TrainingJob,
    TrainingSettings,
    training_settings,
)
from aragora.training.job_state_file import read_jobs, write_jobs
from aragora.training.job_work import TrainingWork
from aragora.training.job_worker import JobWorker
from aragora.training.model_registry import ModelRegistry, get_registry
from aragora.training.training_records import TrainingData, kept_records

_POLL_S = 0.2


class TrainingScheduler:
    """Schedules jobs; every call sees what all processes on the same database have done.

    Args:
        database: an open Memory, an SQLAlchemy URL or a file; None is the default database.
        workers: jobs that this scheduler itself works on at a time; 0: it only schedules.
        max_running: jobs that may run at a time on all workers of the database together.
        max_per_model: the same for each base model.
        lease_s: how long a worker may be silent before its job is given to another.
        registry: where trained models go; None is `get_registry()`.
        engine: as `tinker_engine.connect`.
    """

    def __init__(
        self,
        database: Memory | str | None = None,
        *,
        workers: int = 1,
        max_running: int | None = None,
        max_per_model: int | None = None,
        lease_s: float = 60.0,
        first_retry_s: float = FIRST_RETRY_S,
        registry: ModelRegistry | None = None,
        engine: str | None = None,
    ) -> None:
        if workers < 0:
            raise UsageError(f"workers is {workers}; expected 0 or more")
        self.memory = database if isinstance(database, Memory) else Memory.open(database)
        self._is_owner = self.memory is not database
        self.queue = JobQueue(
            self.memory,
            lease_s=lease_s,
            limits=QueueLimits(max_running, max_per_model),
            first_retry_s=first_retry_s,
        )
        self._registry, self._engine = registry, engine
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._starting = threading.Lock()

    async def schedule_sft(
        self,
        model: str = "",
        adapter_name: str = "",
        *,
        training_data: TrainingData | None = None,
        limit: int | None = None,
        priority: int = 0,
        max_failures: int = 5,
        job_id: str = "",
        export: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> TrainingJob:
        """Schedule supervised training, on the given records or on an export when its turn comes.

        Other keywords are options of `SFTExporter` (`min_confidence`, …) or of `TrainingSettings`
        (`lora_rank`, …). Jobs of higher priority come first. Raises UsageError for an option that
        neither has.
        """
        training, exported = _split_options(options, SFTOptions, export, limit)
        settings = JobSettings(training=training, sft=exported)
        data = {} if training_data is None else {"sft": kept_records(training_data, limit=limit)}
        return await self._schedule(
            "sft", model, adapter_name, settings, data, priority, max_failures, job_id
        )

    async def schedule_dpo(
        self,
        model: str = "",
        adapter_name: str = "",
        *,
        training_data: TrainingData | None = None,
        limit: int | None = None,
        priority: int = 0,
        max_failures: int = 5,
        job_id: str = "",
        export: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> TrainingJob:
        """Schedule preference training; as `schedule_sft`, with `DPOExporter`'s options."""
        training, exported = _split_options(options, DPOOptions, export, limit)
        settings = JobSettings(training=training, dpo=exported)
        data = {} if training_data is None else {"dpo": kept_records(training_data, limit=limit)}
        return await self._schedule(
            "dpo", model, adapter_name, settings, data, priority, max_failures, job_id
        )

    async def schedule_combined(
        self,
        model: str = "",
        adapter_name: str = "",
        *,
        sft_limit: int | None = None,
        dpo_limit: int | None = None,
        sft_data: TrainingData | None = None,
        dpo_data: TrainingData | None = None,
        sft_export: Mapping[str, Any] | None = None,
        dpo_export: Mapping[str, Any] | None = None,
        priority: int = 0,
        max_failures: int = 5,
        job_id: str = "",
        **options: Any,
    ) -> TrainingJob:
        """Schedule supervised training and then preferences on what came of it.

        Other keywords are options of `TrainingSettings`; the exporters' go into `sft_export` and
        `dpo_export`.
        """
        training = training_settings(options)
        settings = JobSettings(
            training=training,
            sft=_export_settings(SFTOptions, sft_export or {}, sft_limit),
            dpo=_export_settings(DPOOptions, dpo_export or {}, dpo_limit),
        )
        data: dict[str, list[Any]] = {}
        if sft_data is not None:
            data["sft"] = kept_records(sft_data, limit=sft_limit)
        if dpo_data is not None:
            data["dpo"] = kept_records(dpo_data, limit=dpo_limit)
        return await self._schedule(
            "combined", model, adapter_name, settings, data, priority, max_failures, job_id
        )

    async def schedule_adversarial(
        self,
        model: str = "",
        adapter_name: str = "",
        *,
        training_data: TrainingData | None = None,
        limit: int | None = None,
        priority: int = 0,
        max_failures: int = 5,
        job_id: str = "",
        export: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> TrainingJob:
        """Schedule training on the gauntlet's findings; as `schedule_sft`."""
        training, exported = _split_options(options, GauntletOptions, export, limit)
        settings = JobSettings(training=training, sft=exported)
        data = (
            {} if training_data is None else {"gauntlet": kept_records(training_data, limit=limit)}
        )
        return await self._schedule(
            "adversarial", model, adapter_name, settings, data, priority, max_failures, job_id
        )

    async def wait_for_job(
        self, job_id: str, *, timeout_s: float | None = None, poll_s: float = _POLL_S
    ) -> TrainingJob:
        """The job when it is over, however it ended (see its `status` and `error`).

        Raises NoSuchRecordError, and JobError when it isn't over in time.
        """
        began = time.monotonic()
        while True:
            job = await asyncio.to_thread(self.queue.get, job_id)
            if job.status.is_over:
                return job
            if timeout_s is not None and time.monotonic() - began > timeout_s:
                raise JobError(f"job {job_id!r} is still {job.status.value} after {timeout_s:g} s")
            self._work()
            await asyncio.sleep(poll_s)

    def list_jobs(self, status: JobStatus | str | None = None) -> list[TrainingJob]:
        """Jobs in the order they were scheduled, those of one status or all."""
        return self.queue.jobs(None if status is None else _status(status))

    def get_job(self, job_id: str) -> TrainingJob:
        """One job; raises NoSuchRecordError that names the newest ones."""
        return self.queue.get(job_id)

    def get_log(self, job_id: str) -> list[JobEvent]:
        """The job's log, in order."""
        return self.queue.events(job_id)

    def get_attempts(self, job_id: str) -> list[JobAttempt]:
        """Every try of the job, with the reason why it ended."""
        return self.queue.attempts(job_id)

    def cancel_job(self, job_id: str) -> bool:
        """Cancel a job: at once when it waits, at its next step when it runs; False when over."""
        return self.queue.cancel(job_id)

    def save_state(self, path: Path | str) -> None:
        """Write all jobs with their records into a file, whole or not at all."""
        write_jobs(self.queue, Path(path))

    def load_state(self, path: Path | str) -> list[TrainingJob]:
        """Take in the jobs of a file that the database doesn't know; gives those.

        A job that was running is pending again: its worker is not here. Raises JobError for a file
        that is none of `save_state`'s.
        """
        added = read_jobs(self.queue, Path(path))
        if any(not job.status.is_over for job in added):
            self._work()
        return added

    def run_worker(self, *, until_idle: bool = False, name: str = "") -> int:
        """Work on jobs in this thread until `stop` (or until there are none); tells how many."""
        return JobWorker(self.queue, self._training(), name=name).run(
            self._stop, until_idle=until_idle
        )

    def stop(self) -> None:
        """Ask all workers of this scheduler to stop; jobs they are at go back into the queue."""
        self._stop.set()

    def close(self) -> None:
        """Stop, wait for the workers, and close the database if this scheduler opened it."""
        self.stop()
        for thread in self._threads:
            thread.join()
        if self._is_owner:
            self.memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _schedule(
        self,
        kind: JobKind,
        model: str,
        adapter_name: str,
        settings: JobSettings,
        data: Mapping[str, Sequence[Any]],
        priority: int,
        max_failures: int,
        job_id: str,
    ) -> TrainingJob:
        if max_failures < 1:
            raise UsageError(f"max_failures is {max_failures}; expected 1 or more")
        job = TrainingJob(
            job_id=job_id or new_id(),
            kind=kind,
            model=str(model),
            adapter_name=adapter_name,
            settings=settings,
            status=JobStatus.PENDING,
            priority=priority,
            created_at=0.0,
            max_failures=max_failures,
        )
        stored = await asyncio.to_thread(self.queue.add, job, data)
        self._work()
        return stored

    def _training(self) -> TrainingWork:
        registry = self._registry or get_registry()
        return TrainingWork(self.memory, registry, AragoraConfig().home / "jobs", self._engine)

    def _work(self) -> None:
        """See that this scheduler's threads are at work."""
        with self._starting:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if self._stop.is_set():
                return
            for number in range(len(self._threads), self._workers):
                worker = JobWorker(self.queue, self._training())
                thread = threading.Thread(
                    target=worker.run,
                    args=(self._stop,),
                    kwargs={"until_idle": True},
                    name=f"training-{number}",
                    daemon=True,
                )
                thread.start()
                self._threads.append(thread)


def _split_options(
    options: Mapping[str, Any],
    export_type: type[ExportOptions],
    export: Mapping[str, Any] | None,
    limit: int | None,
) -> tuple[TrainingSettings, ExportSettings]:
    """Options by what they are of: the training's own names first, the rest the exporter's."""
    own = {k: v for k, v in options.items() if k in TrainingSettings.model_fields}
    rest = {k: v for k, v in options.items() if k not in own}
    exported = _export_settings(export_type, {**rest, **(export or {})}, limit)
    return training_settings(own), exported


def _export_settings(
    export_type: type[ExportOptions], given: Mapping[str, Any], limit: int | None
) -> ExportSettings:
    options = without_replay(read_options(export_type, dict(given)))
    dumped = options.model_dump(mode="json", exclude_unset=True, exclude={"limit"})
    return ExportSettings(options=dumped, limit=options.limit if limit is None else limit)


def _status(status: JobStatus | str) -> JobStatus:
    try:
        return JobStatus(status)
    except ValueError as error:
        known = ", ".join(one.value for one in JobStatus)
        raise UsageError(f"status {status!r} is not known; expected one of {known}") from error
