"""A process killed while it moves a slot leaves the slot whole: the old adapter or the new one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tinker_engine.config import EngineConfig
from tinker_engine.runtime.adapter_shelf import AdapterIdentity, AdapterShelf, identify
from tinker_engine.storage.database import Database
from tinker_engine.storage.slots import SlotStore

MOVER = """
import sys, time
from pathlib import Path
from tinker_engine.config import EngineConfig
from tinker_engine.errors import NotFoundError
from tinker_engine.runtime.adapter_shelf import identify
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.slots import Admission

engine = Engine.open(EngineConfig(home=Path(sys.argv[1]), threads=1))
try:
    at = engine.slots.get("moved").digest
except NotFoundError:
    at = None
for turn in range(100_000):
    folder = Path(sys.argv[2 + turn % 3])
    found = identify(folder)
    admission = Admission("0" * 64, found.digest, found.config_digest, "test", time.time())
    at = engine.slots.set("moved", folder, expected=at, admission=admission).digest
    print(at, flush=True)
"""


@pytest.mark.slow  # each life of the process loads torch and a base model
def test_a_kill_leaves_the_old_or_the_new(
    adapter: Path, other_adapter: Callable[[float], Path], tmp_path: Path
) -> None:
    folders = [adapter, other_adapter(0.5), other_adapter(0.25)]
    home = tmp_path / "home"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", MOVER, str(home), *map(str, folders)],
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(4)]
        time.sleep(random.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split()
        process.wait()
        database = Database(EngineConfig(home=home).resolved_database_url)
        store = SlotStore(database)
        slot = store.slots()[0]
        changes = store.history("moved")
        database.close()
        assert slot.digest == changes[-1].digest
        # What was told to have happened has happened; at most one more was under way.
        known = [change.digest for change in changes]
        assert known[-len(told) :] == told or known[-len(told) - 1 : -1] == told
        assert all(later.previous_digest == earlier.digest for earlier, later in pairwise(changes))
        identity = AdapterIdentity(slot.digest, slot.config_digest or "")
        assert identity in [identify(folder) for folder in folders]
        AdapterShelf(home / "adapters").open(identity)
