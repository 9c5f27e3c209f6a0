"""A worker on training jobs, in a process of its own that may be killed."""

from __future__ import annotations

import signal

# Imported here and not when first used: processes that are forked from one that has these begin
# at once.
import tinker  # noqa: F401
import transformers  # noqa: F401
from transformers import AutoTokenizer  # noqa: F401

from aragora.training.training_scheduler import TrainingScheduler
from tinker_engine.recipes import dpo, sft  # noqa: F401


def work(database: str, lease_s: float) -> None:
    """Work on the jobs of a database until SIGTERM."""
    scheduler = TrainingScheduler(database, workers=0, lease_s=lease_s)
    signal.signal(signal.SIGTERM, lambda _number, _frame: scheduler.stop())
    with scheduler:
        scheduler.run_worker()
