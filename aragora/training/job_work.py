"""What a training job does: export (once), train from where an earlier attempt stood, register.

Every attempt has a folder of its own, begun as a copy of the one before: a worker that was only
slow, and whose job went to another, writes where nobody reads.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aragora.errors import TrainingDataError
from aragora.training.job_records import ExportSettings, JobKind, TrainingJob
from aragora.training.job_worker import JobControl
from aragora.training.model_registry import ModelRegistry
from aragora.training.results import Stage, TrainingProgress
from aragora.training.training_plan import TrainingPlan, carry_out
from aragora.training.training_records import TrainingRecords, read_records
from tensafe.files import write_text

if TYPE_CHECKING:
    from aragora.memory.store import Memory
    from aragora.training.exporters.rows import TrainingRows

# In an attempt's folder: the digest of the records that it trains on.
TRAINING_SET = "training_set.sha256"
PARTS: dict[JobKind, tuple[str, ...]] = {
    "sft": ("sft",),
    "dpo": ("dpo",),
    "combined": ("sft", "dpo"),
    "adversarial": ("gauntlet",),
}


class TrainingWork:
    """The work of training jobs: called with a job's control, it gives the result as JSON.

    Args:
        memory: the database whose debates are exported.
        registry: where trained models go.
        folder: keeps the state of attempts, one folder per job.
        engine: as `tinker_engine.connect`.
    """

    def __init__(
        self, memory: Memory, registry: ModelRegistry, folder: Path, engine: str | None = None
    ) -> None:
        self._memory, self._registry = memory, registry
        self._folder, self._engine = folder, engine

    def __call__(self, control: JobControl) -> dict[str, Any]:
        """Do the job."""
        from aragora.agents.served_model import served_model

        job = control.lease.job
        parts = {part: self._records(control, part) for part in PARTS[job.kind]}
        control.check()
        served = served_model(job.model or None, self._engine)
        plan = TrainingPlan(
            training_type=job.kind,
            adapter_name=job.adapter_name,
            conversations=tuple(c for p in parts.values() for c in p.conversations),
            preferences=tuple(p for q in parts.values() for p in q.preferences),
            settings=job.settings.training,
            run_key=job.job_id,
        )
        _check(plan, job)
        folder = self._begin_attempt(control, plan.training_set)

        def on_progress(step: TrainingProgress) -> None:
            control.tell(asdict(step))

        def on_stage(stage: Stage, records: int) -> None:
            control.log(f"{stage} on {records} records with {served.name}")
            control.check()

        result = carry_out(
            plan, served, folder, self._registry, on_progress=on_progress, on_stage=on_stage
        )
        self._put_away(control, folder.parent)
        return result.to_json()

    def _put_away(self, control: JobControl, home: Path) -> None:
        """Remove the state of all attempts; raises LeaseLostError where another goes on with it."""
        # A worker that was slow has finished too, perhaps beside the one that has the job now.
        control.queue.renew(control.lease)
        shutil.rmtree(home, ignore_errors=True)

    def _records(self, control: JobControl, part: str) -> TrainingRecords:
        kept = control.queue.data(control.lease.job.job_id, part)
        if kept is None:
            rows, explained = export_part(self._memory, part, control.lease.job)
            for line in explained.splitlines():
                control.log(line)
            if not rows:
                raise TrainingDataError(f"the export left nothing to train on\n{explained}")
            kept = control.queue.keep_data(control.lease, part, rows)
        return read_records(kept)

    def _begin_attempt(self, control: JobControl, training_set: str) -> Path:
        """The attempt's folder: a copy of the last one's that trained on the same records.

        States of other records are removed: since then debates were deleted, and what was learned
        from them must not go on.
        """
        job, attempt = control.lease.job, control.lease.attempt
        # Ids are free text; the folder is called by what can't leave its parent.
        home = self._folder / folder_name(job.job_id)
        folder = home / f"attempt-{attempt}"
        earlier = sorted(
            (p for p in home.glob("attempt-*") if p != folder),
            key=lambda p: int(p.name.rpartition("-")[2]),
        )
        for other in earlier:
            if _training_set_of(other) != training_set:
                control.log(f"{other.name} is left: the records have changed since")
                shutil.rmtree(other)
        earlier = [other for other in earlier if other.is_dir()]
        if earlier:
            shutil.copytree(earlier[-1], folder, dirs_exist_ok=True)
            control.log(f"goes on from {earlier[-1].name}")
        else:
            folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / TRAINING_SET, training_set)
        return folder


def _training_set_of(attempt: Path) -> str | None:
    path = attempt / TRAINING_SET
    return path.read_text(encoding="utf-8") if path.is_file() else None


def folder_name(job_id: str) -> str:
    """A file name for a job id: itself when it is harmless, else its digest."""
    from aragora.memory.identity import digest_of

    is_harmless = job_id.replace("-", "").replace("_", "").isalnum() and job_id.isascii()
    return job_id if is_harmless else digest_of(job_id)[:32]


def export_part(memory: Memory, part: str, job: TrainingJob) -> tuple[list[dict[str, Any]], str]:
    """Rows for one part of a job from the debates, and an account of what was left out.

    The database notes whose words they hold.
    """
    from aragora.training.exporters import DPOExporter, GauntletExporter, SFTExporter

    exporters = {"sft": SFTExporter, "dpo": DPOExporter, "gauntlet": GauntletExporter}
    settings: ExportSettings = job.settings.dpo if part == "dpo" else job.settings.sft
    rows: TrainingRows = exporters[part](memory).export(
        register=True, limit=settings.limit, **settings.options
    )
    told = f"\ntraining set {rows.training_set_id}" if rows else ""
    return list(rows), f"{rows.report.explain()}{told}"


def _check(plan: TrainingPlan, job: TrainingJob) -> None:
    needs: dict[JobKind, tuple[bool, bool]] = {
        "sft": (True, False),
        "dpo": (False, True),
        "combined": (True, True),
        "adversarial": (False, False),
    }
    wants_conversations, wants_preferences = needs[job.kind]
    if wants_conversations and not plan.conversations:
        raise TrainingDataError(f"job {job.job_id!r}: no records with `messages` to train on")
    if wants_preferences and not plan.preferences:
        raise TrainingDataError(f"job {job.job_id!r}: no records with `chosen` and `rejected`")
