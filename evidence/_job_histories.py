"""Whether what a queue has stored about its jobs can have happened, and each job ended once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from aragora.training.job_queue import JobQueue
from aragora.training.job_records import FOLLOWS, JobStatus, TrainingJob
from aragora.training.model_registry import ModelRegistry


def wrong_in(queue: JobQueue, job: TrainingJob, registry: ModelRegistry) -> list[str]:
    """What is wrong with one job's record; empty when all of it fits together."""
    found: list[str] = []
    events, attempts = queue.events(job.job_id), queue.attempts(job.job_id)
    states = [event.status for event in events if event.status is not None]
    if not states or states[0] is not JobStatus.PENDING:
        found.append(f"began as {states[:1]}")
    for before, after in pairwise(states):
        if after not in FOLLOWS[before]:
            found.append(f"{before.value} was followed by {after.value}")
    ends = [state for state in states if state.is_over]
    if len(ends) != 1 or ends[0] is not job.status:
        found.append(f"ended as {[s.value for s in ends]}, and is {job.status.value}")
    if [a.number for a in attempts] != list(range(1, job.attempts + 1)):
        found.append(f"{job.attempts} attempts, stored are {[a.number for a in attempts]}")
    for one, other in pairwise(attempts):
        if one.ended_at is None or one.ended_at > other.began_at:
            found.append(f"attempts {one.number} and {other.number} held the job at once")
    if any(a.ended_at is None for a in attempts):
        found.append("an attempt is still open")
    if sum(a.outcome in ("failed", "lost") for a in attempts) != job.failures:
        found.append(f"{job.failures} failures, attempts {[a.outcome for a in attempts]}")
    if any(a.outcome in ("failed", "lost", "released") and not a.reason for a in attempts):
        found.append("an attempt ended without a reason")
    completed = sum(a.outcome == "completed" for a in attempts)
    if completed != (job.status is JobStatus.COMPLETED):
        found.append(f"{completed} attempts completed, the job is {job.status.value}")
    models = [m for m in registry.list_models() if m.training_run == job.job_id]
    if job.status is JobStatus.COMPLETED and [m.model_id for m in models] != [job.model_id]:
        found.append(f"models {[m.model_id for m in models]}, the job names {job.model_id}")
    return found


def outcomes(jobs: list[TrainingJob]) -> dict[str, int]:
    """How many jobs are in which state."""
    return dict(Counter(job.status.value for job in jobs))
