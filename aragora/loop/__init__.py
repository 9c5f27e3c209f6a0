"""The closed loop: debates make training data, training makes versions, gates let them in.

from aragora.loop import LoopSettings, read_tasks, run_loop

state = run_loop(read_tasks(Path("tasks.jsonl")), LoopSettings(rounds=3), Path("loop"))
print(state.current.test.accuracy, state.ended)
"""

from __future__ import annotations

from aragora.loop.looping import run_loop
from aragora.loop.settings import LoopSettings
from aragora.loop.state import LoopState, Measured, Version, read_state
from aragora.loop.tasks import LoopTask, TaskSet, read_tasks

__all__ = [
    "LoopSettings",
    "LoopState",
    "LoopTask",
    "Measured",
    "TaskSet",
    "Version",
    "read_state",
    "read_tasks",
    "run_loop",
]
