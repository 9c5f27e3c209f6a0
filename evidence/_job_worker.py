"""A worker on training jobs, in a process of its own that may be killed."""

from __future__ import annotations

import signal
from importlib import import_module

from aragora.training.training_scheduler import TrainingScheduler
from tinker_engine.connect import load_tokenizer

# Imported here and not when first used: processes that are forked from one that has these begin
# at once.
for _name in ("tinker", "transformers.models.auto", "tinker_engine.recipes.dpo"):
    import_module(_name)
load_tokenizer("nano")


def work(database: str, lease_s: float) -> None:
    """Work on the jobs of a database until SIGTERM."""
    scheduler = TrainingScheduler(database, workers=0, lease_s=lease_s)
    signal.signal(signal.SIGTERM, lambda _number, _frame: scheduler.stop())
    with scheduler:
        scheduler.run_worker()
