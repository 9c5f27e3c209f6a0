"""`aragora jobs`: the queue of training jobs, and workers for it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aragora.cli.options import Database, Json

if TYPE_CHECKING:
    from aragora.training.job_records import TrainingJob

EPILOG = """
Examples:

  aragora jobs list --status running

  aragora jobs work

  aragora jobs show 01a2212570db795aae41c054255817a6
"""
JobId = Annotated[str, typer.Argument(help="The job's id.")]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(
        name="jobs",
        help="The queue of training jobs, and workers for it.",
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("list", help="Jobs in the order they were scheduled.")(list_jobs)
    group.command("show", help="One job: state, attempts with reasons, log.")(show)
    group.command("add", epilog=ADD_EPILOG, help="Schedule a job for a worker.")(add)
    group.command("cancel", help="Cancel a job; exit code 1 when it was over already.")(cancel)
    group.command("work", epilog=WORK_EPILOG, help="Work on jobs until stopped.")(work)
    group.command("save", help="Write all jobs into a file.")(save)
    group.command("load", help="Take in jobs of a file that are not known yet.")(load)
    app.add_typer(group)


def list_jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Print one line per job."""
    from aragora.training.training_scheduler import TrainingScheduler

    with TrainingScheduler(database, workers=0) as scheduler:
        jobs = scheduler.list_jobs(status)
    if as_json:
        print(json.dumps([job.to_json() for job in jobs]))
        return
    for job in jobs:
        print(_line(job))
    if not jobs:
        print(f"no jobs{f' that are {status}' if status else ''}")


def show(job_id: JobId, database: Database = None, as_json: Json = False) -> None:
    """Print everything about a job."""
    from dataclasses import asdict

    from aragora.training.training_scheduler import TrainingScheduler

    with TrainingScheduler(database, workers=0) as scheduler:
        job = scheduler.get_job(job_id)
        attempts, log = scheduler.get_attempts(job_id), scheduler.get_log(job_id)
    if as_json:
        facts = {**job.to_json(), "log": [asdict(e) for e in log]}
        print(json.dumps({**facts, "attempt_list": [asdict(a) for a in attempts]}))
        return
    print(_line(job))
    if job.error:
        print(f"error: {job.error}")
    for event in log:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event.at))
        print(f"{moment}  {event.status or '':<9}  {event.text}")


ADD_EPILOG = """
Examples:

  aragora jobs add sft --data sft.jsonl --adapter-name aragora-v1

  aragora jobs add combined --priority 5

Without --data the records are exported from the debates when the job's turn comes.
"""


def add(
    kind: Annotated[str, typer.Argument(help="sft, dpo, combined or adversarial.")],
    model: Annotated[str, typer.Option(help="Base model [default: the engine's].")] = "",
    adapter_name: Annotated[str, typer.Option(help="What the model is called.")] = "",
    data: Annotated[
        list[Path] | None,
        typer.Option(help="JSONL file; for combined give two: sft, then dpo.", exists=True),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Most records of each part.", min=1)] = None,
    priority: Annotated[int, typer.Option(help="Higher ones come first.")] = 0,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Schedule a job and print its id."""
    import asyncio

    from aragora.errors import UsageError
    from aragora.training.training_scheduler import TrainingScheduler

    files = data or []
    expected = 2 if kind == "combined" else 1
    if kind not in ("sft", "dpo", "combined", "adversarial"):
        raise UsageError(f"kind {kind!r} is not known; expected sft, dpo, combined or adversarial")
    if files and len(files) != expected:
        raise UsageError(f"{kind} takes --data {expected} times, not {len(files)}")
    with TrainingScheduler(database, workers=0) as scheduler:
        if kind == "combined":
            given = dict(zip(("sft_data", "dpo_data"), files, strict=False))
            job = asyncio.run(
                scheduler.schedule_combined(
                    model,
                    adapter_name,
                    sft_limit=limit,
                    dpo_limit=limit,
                    priority=priority,
                    **given,
                )
            )
        else:
            schedule = {
                "sft": scheduler.schedule_sft,
                "dpo": scheduler.schedule_dpo,
                "adversarial": scheduler.schedule_adversarial,
            }[kind]
            job = asyncio.run(
                schedule(
                    model,
                    adapter_name,
                    training_data=files[0] if files else None,
                    limit=limit,
                    priority=priority,
                )
            )
    print(json.dumps(job.to_json()) if as_json else job.job_id)


def cancel(job_id: JobId, database: Database = None) -> None:
    """Cancel a job."""
    from aragora.training.training_scheduler import TrainingScheduler

    with TrainingScheduler(database, workers=0) as scheduler:
        is_done = scheduler.cancel_job(job_id)
        job = scheduler.get_job(job_id)
    print(f"{job_id}: {'to be cancelled' if not job.status.is_over else job.status.value}")
    raise SystemExit(0 if is_done else 1)


WORK_EPILOG = """
Examples:

  aragora jobs work

  aragora jobs work --until-idle --max-running 2

Any number of workers may share a database. One that is stopped (Ctrl-C, SIGTERM) gives its job
back; one that is killed loses it to another after --lease seconds. Either way the job goes on from
its last checkpoint.
"""


def work(
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when there is nothing to do.")
    ] = False,
    lease: Annotated[
        float, typer.Option(help="Seconds of silence after which a job is another's.", min=1)
    ] = 60.0,
    max_running: Annotated[
        int | None, typer.Option(help="Most jobs at a time on all workers together.", min=1)
    ] = None,
    max_per_model: Annotated[
        int | None, typer.Option(help="Most jobs at a time on one base model.", min=1)
    ] = None,
    database: Database = None,
) -> None:
    """Work in this process."""
    import logging
    import signal

    from aragora.training.training_scheduler import TrainingScheduler

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    scheduler = TrainingScheduler(
        database, workers=0, lease_s=lease, max_running=max_running, max_per_model=max_per_model
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: scheduler.stop())
    with scheduler:
        done = scheduler.run_worker(until_idle=until_idle)
    print(f"{done} jobs", file=sys.stderr)


def save(
    path: Annotated[Path, typer.Argument(help="The file.", dir_okay=False)],
    database: Database = None,
) -> None:
    """Write the state file."""
    from aragora.training.training_scheduler import TrainingScheduler

    with TrainingScheduler(database, workers=0) as scheduler:
        scheduler.save_state(path)
    print(path)


def load(
    path: Annotated[Path, typer.Argument(help="The file.", dir_okay=False, exists=True)],
    database: Database = None,
) -> None:
    """Read the state file."""
    from aragora.training.training_scheduler import TrainingScheduler

    with TrainingScheduler(database, workers=0) as scheduler:
        added = scheduler.load_state(path)
    print(f"{len(added)} jobs taken in")


def _line(job: TrainingJob) -> str:
    from aragora.agents.quoting import plain

    step = job.progress.get("step")
    done = f"{job.progress['stage']} {step}/{job.progress['total']}" if step else ""
    name = plain(job.model_id or job.adapter_name or "-", has_roles=True).text
    return f"{job.job_id}  {job.kind:<11}  {job.status.value:<9}  {done:<12}  {name}"
