"""Steering a loop from outside: requests are files in its folder, which it looks for at each step.

A training that is under way is ended first; a loop that isn't running heeds them when it starts.
"""

from __future__ import annotations

from pathlib import Path

from tensafe.errors import UsageError
from tensafe.files import write_text
from tensafe.improve.loop import PAUSE_FILE, STOP_FILE, LoopReport
from tensafe.improve.loop_state import read_loop_state


def steer(
    folder: Path, *, pause: bool = False, resume: bool = False, stop: bool = False
) -> LoopReport:
    """Leave a request, and give where the loop stands.

    Raises:
        UsageError: there is no loop in that folder.
    """
    state = read_loop_state(folder)
    if state is None:
        raise UsageError(f"{folder}: there is no loop in it; `tensafe watch RUN --out` begins one")
    if pause:
        write_text(folder / PAUSE_FILE, "")
    if resume:
        (folder / PAUSE_FILE).unlink(missing_ok=True)
    if stop and state.phase != "stopped":
        write_text(folder / STOP_FILE, "")
    return LoopReport(folder, state)
