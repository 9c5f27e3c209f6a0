"""Where the loop stands, in one file that is replaced as a whole; a kill loses no step.

Each phase can be gone through again from its beginning: a training goes on from its checkpoint, a
swap that was asked for is found again by its package.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tensafe.errors import DataError
from tensafe.files import write_json

STATE_FILE = "state.json"
Phase = Literal["collecting", "training", "swapping", "stopped"]


@dataclass(frozen=True)
class LoopState:
    """`adapter` is the run folder of the version that is current.

    `cycle` counts trainings begun, `versions` those that became current, `without_gain` cycles in
    a row that led to none. `tried` is how many weak interactions the last refused cycle had:
    another begins when that many and `min_examples` more are there. `used` names the interactions
    that versions have learned from. Times are seconds since 1970, or seconds.
    """

    adapter: str
    phase: Phase = "collecting"
    cycle: int = 0
    versions: int = 0
    without_gain: int = 0
    tried: int = 0
    used: tuple[str, ...] = ()
    started_at: float = 0.0
    train_s: float = 0.0
    epsilon: float = 0.0
    package: str = ""
    swap_id: str = ""
    why_stopped: str = ""


def read_loop_state(folder: Path) -> LoopState | None:
    """The folder's state, None when no loop was begun in it.

    Raises:
        DataError: the file is not what was written there.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields["used"] = tuple(fields["used"])
        return LoopState(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a loop's state ({error}); name another folder") from error


def write_loop_state(folder: Path, state: LoopState) -> None:
    """Replace the state atomically, for its owner's eyes."""
    write_json(folder / STATE_FILE, asdict(state), mode=0o600)
