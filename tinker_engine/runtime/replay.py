"""Doing a run's requests again on top of its last saved state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tinker_engine.runtime.futures import Outcome
from tinker_engine.runtime.records import LossOutput, RunSpec
from tinker_engine.runtime.recovery import SavedState
from tinker_engine.runtime.run_journal import Accepted

logger = logging.getLogger(__name__)


def restore_run(
    run_id: str,
    saved: SavedState | None,
    changes: Sequence[Accepted],
    *,
    restore: Callable[[Path], RunSpec],
    redo: Callable[[Accepted], Outcome],
    outcome: Callable[[Accepted], Outcome | None],
) -> int:
    """Restore the state and redo the changes after it in their order; gives how many those were.

    It is logged when losses come out otherwise than the first time. Without a saved state the first
    change is the run's creation.
    """
    ordinal = 0
    if saved is not None:
        restore(saved.file)
        ordinal = saved.ordinal
    later = [change for change in changes if (change.ordinal or 0) > ordinal]
    gaps: list[float] = []
    for change in sorted(later, key=lambda change: change.ordinal or 0):
        gap = _largest_gap(redo(change), outcome(change))
        if gap > 0:
            gaps.append(gap)
    if gaps:
        logger.warning(
            "run %s: logprobs of %d requests differ by %.3g at most when done again",
            run_id,
            len(gaps),
            max(gaps),
        )
    return len(later)


def _largest_gap(again: Outcome, before: Outcome | None) -> float:
    if not isinstance(again, LossOutput) or not isinstance(before, LossOutput):
        return 0.0
    pairs = zip(again.logprobs, before.logprobs, strict=True)
    return max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
