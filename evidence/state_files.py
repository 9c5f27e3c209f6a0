"""Registry and state files survive kills during writes, and two processes writing at once.

Writers are processes that are killed in the midst of it, again and again; after each kill the file
must be whole and hold everything that a writer had said was written. Then two processes write at
once, and nothing may be lost. The registry is tried as a file and as a database.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aragora.memory.store import Memory
from aragora.training.job_queue import JobQueue
from aragora.training.job_records import JobSettings, JobStatus, TrainingJob
from aragora.training.job_state_file import read_jobs, write_jobs
from aragora.training.model_metadata import ModelMetadata
from aragora.training.model_registry import ModelRegistry
from evidence._report import conclude

KILLS, WRITES_AT_ONCE = 20, 150
_CONTEXT = multiprocessing.get_context("forkserver")


def register(place: str, prefix: str, count: int, told: Connection | None) -> None:
    """Register models one after another, telling of each one after it was written."""
    registry = ModelRegistry(place)
    for number in range(count):
        model_id = f"{prefix}-{number}"
        registry.register(ModelMetadata(model_id=model_id, base_model="nano", notes="x" * 400))
        if told is not None:
            told.send(model_id)


def save_states(database: str, path: str, count: int, told: Connection | None) -> None:
    """Add jobs and save the state file after each, telling of each one after it was written."""
    with Memory.open(database) as memory:
        queue = JobQueue(memory)
        for number in range(count):
            job_id = f"{time.time_ns()}-{number}"
            queue.add(job(job_id), {"sft": [{"prompt": "x" * 200, "completion": "y"}]})
            write_jobs(queue, Path(path))
            if told is not None:
                told.send(job_id)


def job(job_id: str) -> TrainingJob:
    """A job that waits."""
    return TrainingJob(
        job_id, "sft", "nano", "", JobSettings(), JobStatus.PENDING, priority=0, created_at=0.0
    )


def killed_writers(
    writer: Callable[..., None], arguments: tuple[str, str], known: Callable[[], set[str]]
) -> tuple[int, int, list[str]]:
    """Kill a writer again and again; gives how much was told, kills, and what is wrong."""
    draw = random.Random(5)
    written: set[str] = set()
    wrong: list[str] = []
    for kill in range(KILLS):
        receiving, sending = _CONTEXT.Pipe(duplex=False)
        place, prefix = arguments
        given = (place, f"{prefix}-{kill}" if writer is register else prefix, 10_000, sending)
        process = _CONTEXT.Process(target=writer, args=given)
        process.start()
        sending.close()
        # From its first word on it writes without a pause.
        if receiving.poll(300):
            written.add(str(receiving.recv()))
        else:
            wrong.append(f"writer {kill} wrote nothing")
        time.sleep(draw.random() * 0.3)
        process.kill()
        process.join()
        try:
            while receiving.poll():
                written.add(str(receiving.recv()))
        # What it was saying when it was killed.
        except (EOFError, OSError):
            pass
        try:
            lost = written - known()
        # Whatever reading raises is what is looked for here.
        except Exception as error:
            wrong.append(f"after kill {kill}: {error}")
        else:
            wrong += [f"after kill {kill}: {one} is lost" for one in sorted(lost)]
    return len(written), KILLS, wrong


def two_at_once(place: str, known: Callable[[], set[str]]) -> list[str]:
    """Two processes write the same registry; what is missing afterwards."""
    names = ("left", "right")
    processes = [
        _CONTEXT.Process(target=register, args=(place, name, WRITES_AT_ONCE, None))
        for name in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    expected = {f"{name}-{n}" for name in names for n in range(WRITES_AT_ONCE)}
    return [f"{one} is lost" for one in sorted(expected - known())]


def models_of(place: str) -> Callable[[], set[str]]:
    """Ids of the models that a registry holds now."""
    return lambda: {model.model_id for model in ModelRegistry(place).list_models()}


def jobs_in(folder: Path, path: Path) -> set[str]:
    """Ids of the jobs of a state file, read into a new database."""
    if not path.exists():
        return set()
    with Memory.open(str(folder / f"{time.time_ns()}.sqlite3")) as memory:
        return {one.job_id for one in read_jobs(JobQueue(memory), path)}


def main() -> None:
    """Registry as file, registry as database, state file of the scheduler."""
    figures: dict[str, Any] = {}
    wrong: list[str] = []
    _CONTEXT.set_forkserver_preload(["evidence.state_files", "alembic.command"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, place in (
            ("registry_file", str(folder / "models.json")),
            ("registry_database", f"sqlite:///{folder / 'models.sqlite3'}"),
        ):
            known = models_of(place)
            told, kills, found = killed_writers(register, (place, "model"), known)
            found += two_at_once(place, known)
            figures[kind] = {"written": told, "kills": kills, "models": len(known())}
            print(f"{kind}: {figures[kind]}, {len(found)} wrong", flush=True)
            wrong += found
        state, database = folder / "state.json", str(folder / "jobs.sqlite3")
        told, kills, found = killed_writers(
            save_states, (database, str(state)), lambda: jobs_in(folder, state)
        )
        writers = [
            _CONTEXT.Process(target=save_states, args=(database, str(state), 20, None))
            for _ in range(2)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        with Memory.open(database) as memory:
            missing = {j.job_id for j in JobQueue(memory).jobs()} - jobs_in(folder, state)
        # Each saves after its last job, and whoever saves last sees what the other has added.
        if missing:
            found.append(f"{len(missing)} jobs are missing in the last state file")
        figures["state_file"] = {
            "written": told,
            "kills": kills,
            "jobs": len(jobs_in(folder, state)),
        }
        print(f"state_file: {figures['state_file']}, {len(found)} wrong", flush=True)
        wrong += found
        strays = [p.name for p in folder.glob(".*.partial")]
        figures["stray_temporary_files"] = len(strays)
    for problem in wrong[:20]:
        print(f"wrong: {problem}")
    is_tried = all(
        figures[kind]["written"] > 0 for kind in figures if isinstance(figures[kind], dict)
    )
    figures["wrong"] = len(wrong)
    conclude("state-files", figures, holds=not wrong and is_tried)


if __name__ == "__main__":
    main()
