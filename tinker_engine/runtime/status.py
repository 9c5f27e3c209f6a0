"""What an engine is doing: the facts that `tinker-engine status` and monitors show."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinker_engine.runtime.callers import LOCAL, Caller, current_caller

if TYPE_CHECKING:
    from tinker_engine.runtime.engine import Engine


def engine_status(engine: Engine) -> dict[str, Any]:
    """Totals of the engine, and under `key` what the caller uses and may use."""
    caller = current_caller() or Caller(LOCAL, engine.config.limits)
    owner = caller.owner
    facts: dict[str, Any] = {
        "version": version("aragora"),
        "base_model": engine.base_info.name,
        "uptime_s": round(time.time() - engine.started_at, 1),
        "runs_loaded": engine.runs.count(),
        "sampling_sessions": engine.samplers.count(),
        "requests_waiting": engine.queue.depth(),
        "tokens_in_flight": engine.usage.in_flight(),
        "memory_bytes": resident_bytes(),
        "disk_free_bytes": free_bytes(engine.config.home),
        "key": {
            "id": owner,
            "runs_loaded": engine.runs.count(owner),
            "sampling_sessions": engine.samplers.count(owner),
            "tokens_in_flight": engine.usage.in_flight(owner),
            "disk_bytes": engine.disk.used(owner),
            **dataclasses.asdict(caller.limits),
        },
    }
    # Where the files are concerns whoever runs the server, and nobody else.
    return facts | ({"home": str(engine.config.home)} if owner == LOCAL else {})


def resident_bytes() -> int | None:
    """Memory of this process; None where the system does not tell (only Linux does)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_bytes(folder: Path) -> int:
    """Free space of the disk that a folder is on."""
    return shutil.disk_usage(folder).free
