"""60 jobs on three worker processes, one killed every 20 s: each job ends once, cancel works.

Every job is a real training of an adapter on `nano`, through one served engine. The same is run on
SQLite and on a PostgreSQL cluster in a temporary folder. Beside the 60, one job is cancelled in
each state: waiting, running, waiting for a retry, over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from aragora.memory.store import Memory
from aragora.training.job_records import JobStatus
from aragora.training.model_registry import ModelRegistry
from aragora.training.training_scheduler import TrainingScheduler
from evidence._job_histories import outcomes, wrong_in
from evidence._job_worker import work
from evidence._postgres_cluster import NoPostgresError, running_cluster
from evidence._report import conclude
from evidence.arena_faults import start_server

JOBS, WORKERS, KILL_EVERY_S, LEASE_S = 60, 3, 20.0, 10.0
LIMIT_S = 3600.0


def records(seed: int, count: int = 32) -> list[dict[str, Any]]:
    """Sums, different for every job."""
    draw = random.Random(seed)
    pairs = [(draw.randint(1, 99), draw.randint(1, 99)) for _ in range(count)]
    return [
        {"prompt": f"What is {a} plus {b}?", "completion": f"{a} plus {b} is {a + b}."}
        for a, b in pairs
    ]


def at_work(environ: dict[str, str], database: str) -> None:
    """A worker under this environment: that of the process that starts all is older."""
    os.environ.update(environ)
    work(database, LEASE_S)


class Workers:
    """The worker processes; whoever is gone is replaced.

    They are forked from a process that has imported the libraries, so that what a kill costs is
    the work and not the imports.
    """

    def __init__(self, database: str) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["evidence._job_worker"])
        self._database = database
        self.processes = [self._start() for _ in range(WORKERS)]
        self.kills = 0

    def _start(self) -> BaseProcess:
        process = self._context.Process(target=at_work, args=(dict(os.environ), self._database))
        process.start()
        return process

    def kill(self, pid: int) -> None:
        """SIGKILL one worker, and start another in its place."""
        for place, process in enumerate(self.processes):
            if process.pid == pid:
                process.kill()
                process.join()
                self.processes[place] = self._start()
                self.kills += 1

    def stop(self) -> None:
        """End all of them."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(30)
            process.kill()


def victim(scheduler: TrainingScheduler, workers: Workers, draw: random.Random) -> int:
    """The worker to kill: one that is at a job, if any is."""
    own = [process.pid for process in workers.processes if process.pid]
    busy = [
        pid
        for job in scheduler.list_jobs(JobStatus.RUNNING)
        for pid in own
        if f"-{pid}-" in f"{job.worker}-"
    ]
    return draw.choice(busy or own)


async def cancel_everywhere(scheduler: TrainingScheduler) -> dict[str, bool]:
    """Cancel one job in each state, while the workers are at theirs."""
    worked: dict[str, bool] = {}
    waiting = await scheduler.schedule_sft(
        training_data=records(901), priority=-10, job_id="cancelled-waiting"
    )
    worked["pending"] = scheduler.cancel_job(waiting.job_id)
    running = await scheduler.schedule_sft(
        training_data=records(902), epochs=2000, priority=10, job_id="cancelled-running"
    )
    await until_it_trains(scheduler, running.job_id)
    worked["running"] = scheduler.cancel_job(running.job_id)
    failing = await scheduler.schedule_sft(
        model="no-such-base", training_data=records(903), priority=10, job_id="failed-at-once"
    )
    failed = await scheduler.wait_for_job(failing.job_id, timeout_s=LIMIT_S, poll_s=1.0)
    worked["failed"] = not scheduler.cancel_job(failed.job_id) and "no-such-base" in failed.error
    over = await scheduler.wait_for_job("cancelled-running", timeout_s=LIMIT_S, poll_s=1.0)
    worked["running"] &= over.status is JobStatus.CANCELLED
    worked["cancelled"] = not scheduler.cancel_job("cancelled-waiting")
    worked["pending"] &= scheduler.get_job("cancelled-waiting").status is JobStatus.CANCELLED
    return worked


async def cancel_before_a_retry(scheduler: TrainingScheduler) -> bool:
    """Cancel a job whose first attempt has failed, while it waits for the second."""
    job = await scheduler.schedule_sft(
        training_data=records(904), priority=100, job_id="cancelled-retrying"
    )
    lease = scheduler.queue.claim("evidence")
    if lease is None or lease.job.job_id != job.job_id:
        return False
    waiting = scheduler.queue.fail(lease, "the evidence gave it back", may_retry=True)
    is_waiting = waiting.status is JobStatus.PENDING and waiting.not_before > time.time()
    is_done = scheduler.cancel_job(job.job_id)
    return is_waiting and is_done and scheduler.get_job(job.job_id).status is JobStatus.CANCELLED


async def until_it_trains(scheduler: TrainingScheduler, job_id: str) -> None:
    """Wait until a job has told of a step."""
    began = time.monotonic()
    while not scheduler.get_job(job_id).progress.get("step"):
        if time.monotonic() - began > LIMIT_S:
            raise TimeoutError(f"{job_id} didn't get there")
        await asyncio.sleep(0.5)


async def one_database(url: str, count: int) -> dict[str, Any]:
    """All jobs on one database; what came of them."""
    registry = ModelRegistry(os.environ["TINKER_MODEL_REGISTRY"])
    draw = random.Random(7)
    began = time.monotonic()
    with Memory.open(url) as memory:
        scheduler = TrainingScheduler(memory, workers=0, lease_s=LEASE_S, registry=registry)
        for number in range(count):
            await scheduler.schedule_sft(
                adapter_name=f"job-{number}",
                training_data=records(number),
                epochs=2,
                checkpoint_steps=1,
                max_failures=50,
                priority=number % 3,
            )
        retrying = await cancel_before_a_retry(scheduler)
        workers = Workers(url)
        try:
            cancelling = asyncio.ensure_future(cancel_everywhere(scheduler))
            next_kill = time.monotonic() + KILL_EVERY_S
            told = 0.0
            while not cancelling.done() or any(not j.status.is_over for j in scheduler.list_jobs()):
                await asyncio.sleep(0.5)
                now = time.monotonic()
                if now >= next_kill:
                    workers.kill(victim(scheduler, workers, draw))
                    next_kill = now + KILL_EVERY_S
                if now - told > 30:
                    told = now
                    print(f"  {now - began:5.0f} s: {outcomes(scheduler.list_jobs())}", flush=True)
                if now - began > LIMIT_S:
                    raise TimeoutError(f"not done: {outcomes(scheduler.list_jobs())}")
            cancels = {**await cancelling, "pending_retry": retrying}
            over = scheduler.list_jobs(JobStatus.COMPLETED)[0]
            cancels["completed"] = not scheduler.cancel_job(over.job_id)
        finally:
            workers.stop()
        jobs = scheduler.list_jobs()
        wrong = {j.job_id: w for j in jobs if (w := wrong_in(scheduler.queue, j, registry))}
        attempts = [a for j in jobs for a in scheduler.get_attempts(j.job_id)]
        named = [j for j in jobs if j.adapter_name.startswith("job-")]
        for job_id, problems in wrong.items():
            print(f"  {job_id}: {problems}")
        return {
            "jobs": len(named),
            "completed_once": sum(j.status is JobStatus.COMPLETED for j in named),
            "kills": workers.kills,
            "attempts": len(attempts),
            "lost_attempts": sum(a.outcome == "lost" for a in attempts),
            "resumed": sum(
                "goes on from" in e.text for j in jobs for e in scheduler.get_log(j.job_id)
            ),
            "wrong_states": len(wrong),
            "cancel": cancels,
            "seconds": round(time.monotonic() - began),
        }


def main() -> None:
    """SQLite first, then PostgreSQL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS, help="fewer, for a look")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="one, for a look")
    wanted = parser.parse_args()
    figures: dict[str, Any] = {}
    os.environ["TINKER_ENGINE_LOG_LEVEL"] = "warning"
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        databases = {"sqlite": f"sqlite:///{home / 'jobs.sqlite3'}"}
        try:
            databases["postgresql"] = stack.enter_context(running_cluster())
        except NoPostgresError as error:
            print(error)
        process, base_url, key = start_server(home)
        try:
            os.environ["TINKER_BASE_URL"], os.environ["TINKER_API_KEY"] = base_url, key
            os.environ["OMP_NUM_THREADS"] = "1"
            chosen = [one for one in databases if wanted.database in (None, one)]
            for kind in chosen:
                os.environ["ARAGORA_HOME"] = str(home / kind)
                os.environ["TINKER_MODEL_REGISTRY"] = str(home / f"{kind}.json")
                print(f"{kind}:", flush=True)
                figures[kind] = asyncio.run(one_database(databases[kind], wanted.jobs))
                print(f"  {figures[kind]}", flush=True)
        finally:
            process.terminate()
            process.wait(30)
    conclude(
        "scheduler",
        figures,
        holds=bool(figures)
        and (len(figures) == 2 or wanted.database is not None)
        and all(
            found["completed_once"] == wanted.jobs
            and not found["wrong_states"]
            and found["kills"] > 0
            and all(found["cancel"].values())
            for found in figures.values()
        ),
    )


if __name__ == "__main__":
    main()
