"""All jobs in one file, to carry them to another database or to keep them beside it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import TypeAdapter

from aragora.errors import JobError
from aragora.training.job_queue import JobQueue
from aragora.training.job_records import JobSettings, JobStatus, TrainingJob

VERSION = 1
_PARTS = ("sft", "dpo", "gauntlet")
_FIELDS = {one.name for one in fields(TrainingJob)}
_JOB = TypeAdapter(TrainingJob)
_DATA = TypeAdapter(dict[Literal["sft", "dpo", "gauntlet"], list[dict[str, Any]]])


def write_jobs(queue: JobQueue, path: Path) -> None:
    """Replace the file by all jobs and their records; a kill leaves the old file or the new one."""
    from tensafe.files import locked, write_json

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Read under the lock: whoever writes last writes the newest.
        with locked(path):
            jobs = [_row(queue, job) for job in queue.jobs()]
            write_json(path, {"version": VERSION, "jobs": jobs}, mode=0o600)
    except OSError as error:
        raise JobError(f"{path}: can't be written: {error.strerror}") from error


def read_jobs(queue: JobQueue, path: Path) -> list[TrainingJob]:
    """Add the file's jobs that the queue doesn't know; gives them as they were added.

    Raises JobError, naming the file, before anything is added.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']}, expected {VERSION}")
        read = [_job(cast("dict[str, Any]", row)) for row in document["jobs"]]
    except OSError as error:
        raise JobError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JobError(f"{path}: not a file of jobs ({error})") from error
    known = {job.job_id for job in queue.jobs()}
    return [
        queue.add(job, data, text=f"taken in from {path.name}")
        for job, data in read
        if job.job_id not in known
    ]


def _row(queue: JobQueue, job: TrainingJob) -> dict[str, Any]:
    facts = {k: v for k, v in job.to_json().items() if k in _FIELDS}
    found = {part: queue.data(job.job_id, part) for part in _PARTS}
    return {**facts, "data": {k: v for k, v in found.items() if v is not None}}


def _job(row: dict[str, Any]) -> tuple[TrainingJob, dict[Any, list[Any]]]:
    given = {k: v for k, v in row.items() if k in _FIELDS}
    status = JobStatus(given["status"])
    if status is JobStatus.RUNNING:
        # Its worker was another database's; the attempt counts for nothing here.
        status = JobStatus.CANCELLED if given["cancel_requested"] else JobStatus.PENDING
    given.update(
        settings=JobSettings.model_validate(given["settings"]),
        status=status,
        worker="",
        attempts=0,
    )
    # Types too: what the database refuses later would leave half of the file taken in.
    return _JOB.validate_python(given), _DATA.validate_python(row.get("data", {}))
