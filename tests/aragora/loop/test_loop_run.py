"""The loop on `nano`: real debates, training, gates; killed in the middle, it goes on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aragora.loop import read_state, read_tasks
from aragora.loop.demo_tasks import make_tasks, write_rows
from aragora.loop.gating import dataset_of
from aragora.loop.learning import sources_of
from aragora.loop.page import render_page
from aragora.memory import DebateFilter, Memory
from aragora.training.model_registry import ModelRegistry
from tensafe.gate.lifetime import PrivacyRegister, record_prints

ARGUMENTS = (
    "--rounds", "1", "--protocol", "weigh", "--pii", "keep", "--samples", "1", "--epochs", "1",
    "--agents", "3", "--json",
)  # fmt: skip


def environ(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "TENSAFE_HOME": str(folder / "tensafe"),
        "ARAGORA_HOME": str(folder / "aragora"),
        "TINKER_ENGINE_HOME": str(folder / "engine"),
        "TENSAFE_KEY_PASSPHRASE": "correct horse battery",
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.slow
def test_a_killed_loop_goes_on_and_trains_on_debates_alone(tmp_path: Path) -> None:
    """Slow: screening a version takes most of a minute."""
    write_rows(tmp_path / "tasks.jsonl", make_tasks(5, 24, 16)[0])
    command = [
        sys.executable, "-m", "aragora", "loop", "--tasks", str(tmp_path / "tasks.jsonl"),
        "--out", str(tmp_path / "loop"), *ARGUMENTS,
    ]  # fmt: skip
    first = subprocess.Popen(command, env=environ(tmp_path), stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if "debates" in line and " of " in line:
            break
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.stderr.close()
    before = (tmp_path / "loop" / "rounds" / "0" / "measured-test.json").stat().st_mtime_ns
    time.sleep(0.1)
    second = subprocess.run(
        command, env=environ(tmp_path), capture_output=True, text=True, check=False
    )
    assert second.returncode in (0, 3), second.stderr
    figures = json.loads(second.stdout)
    assert figures["ended"] == "all rounds done"
    assert (tmp_path / "loop" / "rounds" / "0" / "measured-test.json").stat().st_mtime_ns == before

    state = read_state(tmp_path / "loop")
    tasks = read_tasks(tmp_path / "tasks.jsonl")
    assert state is not None
    assert state.versions[1].debates == 24
    assert state.versions[1].gates is not None
    if state.versions[1].used:
        assert state.versions[1].gates["load_gate"] == "passed"
        known = ModelRegistry(tmp_path / "loop" / "model_registry.json").get("loop-v1")
        assert known.win_rate == state.versions[1].check.accuracy
    if state.versions[1].package:
        learned = dataset_of(tmp_path / "loop" / "rounds" / "1", tasks.check).train
        spent = PrivacyRegister(tmp_path / "tensafe").spent_by(record_prints(learned[:1]))
        assert spent.epsilon == math.inf
    with Memory.open(str(tmp_path / "loop" / "aragora.sqlite3")) as memory:
        debates = {s.debate.id: s for s in memory.debates.iterate(DebateFilter(state=None))}
        assert len(debates) == 24
        assert all(s.debate.state == "done" and not s.verdicts for s in debates.values())
    sources = sources_of(tmp_path / "loop" / "rounds" / "1")
    assert sources
    assert set(sources) <= set(debates)
    page = render_page(state, tasks)
    assert "<script" not in page
    assert "Version" in page
