"""Killing a privately training process again and again, and looking at what it left behind.

Each child restores the run from its last checkpoint and trains on, logging every update the moment
the mechanism hands it out, until it is killed with SIGKILL at a random moment.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinker_engine.privacy import Ledger, PrivateMechanism
from tinker_engine.privacy.accountant import epsilon_spent
from tinker_engine.runtime.records import (
    AdamParams,
    FloatArray,
    PrivacyPolicy,
    RunSpec,
    TrainDatum,
)
from tinker_engine.runtime.torch_backend import TorchBackend

POLICY = PrivacyPolicy(
    clip_norm=1.0,
    sampling_rate=0.1,
    expected_batch_size=4.0,
    delta=1e-5,
    noise_multiplier=2.0,
    max_epsilon=1000.0,
)
SPEC = RunSpec(
    rank=4, alpha=8.0, targets=("q_proj", "down_proj"), seed=0, lora_train="B", privacy=POLICY
)


class LoggedMechanism(PrivateMechanism):
    """Writes down each update, durably, as soon as it leaves."""

    log: Path

    def release(self, state_digest: str, clipped_sum: npt.NDArray[np.float64]) -> FloatArray:
        """As the real one; then one line of (state, update) digests."""
        update = super().release(state_digest, clipped_sum)
        line = json.dumps([state_digest, hashlib.sha256(update.tobytes()).hexdigest()]) + "\n"
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
        os.close(descriptor)
        return update


@dataclass(frozen=True)
class KillReport:
    """What was found after all kills. `replayed` updates left more than once, and were equal."""

    kills: int
    released: int
    recorded: int
    replayed: int
    without_entry: int
    differing_replays: int
    longest_epoch_s: float

    @property
    def holds(self) -> bool:
        """Something was released, all of it is in the ledger, and replays were the same."""
        return self.released > 0 and self.without_entry == 0 and self.differing_replays == 0


def train_until_killed(
    backend: TorchBackend, folder: Path, data: list[TrainDatum], ready: int
) -> None:
    """Restore or start the run, then step for ever, with a checkpoint every few steps."""
    ledger_dir, checkpoint = folder / "ledger", folder / "checkpoint"
    if checkpoint.is_dir():
        backend.restore_run("r", checkpoint, ledger_dir, with_optimizer=True)
    else:
        backend.create_run("r", SPEC, ledger_dir)
        backend.save_state("r", checkpoint)
    run = backend.training_run("r")
    assert run.mechanism is not None
    run.mechanism.__class__ = LoggedMechanism
    run.mechanism.log = folder / "released.log"  # type: ignore[attr-defined]
    rng = np.random.default_rng()
    # Half of the children may be killed during their first step, the others later.
    announced_after = int(rng.integers(0, 2))
    for step in itertools.count():
        if step == announced_after:
            os.write(ready, b"r")
        batch = [datum for datum in data if rng.random() < POLICY.sampling_rate]
        if batch:
            backend.forward_backward("r", batch, "cross_entropy")
        backend.optim_step("r", AdamParams(learning_rate=1e-3))
        if rng.random() < 0.2:
            backend.save_state("r", checkpoint)


def kill_repeatedly(
    make_backend: Callable[[], TorchBackend],
    data: list[TrainDatum],
    folder: Path,
    kills: int,
    generator: random.Random,
) -> KillReport:
    """Fork, let it train, kill; then compare what was released with what is in the ledger."""
    # What takes seconds the first time is done before the forks, which inherit it.
    epsilon_spent({(2.0, POLICY.sampling_rate): 1}, POLICY.delta)
    longest = 0.0
    for _ in range(kills):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                train_until_killed(make_backend(), folder, data, writing)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        os.close(writing)
        is_ready = os.read(reading, 1) == b"r"
        os.close(reading)
        pause = generator.uniform(0.0, 0.4)
        time.sleep(pause)
        longest = max(longest, pause)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not is_ready or os.WTERMSIG(status) != signal.SIGKILL:
            raise RuntimeError("a training process ended before it was killed")
    return _compare(folder, kills, longest)


def _compare(folder: Path, kills: int, longest: float) -> KillReport:
    ledger = Ledger.open(folder / "ledger")
    paid = {(event.state_digest, event.update_digest) for event in ledger.events}
    ledger.close()
    log = folder / "released.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    released = [tuple(json.loads(line)) for line in lines]
    by_state: dict[str, set[str]] = {}
    for state, update in released:
        by_state.setdefault(state, set()).add(update)
    return KillReport(
        kills=kills,
        released=len(released),
        recorded=len(paid),
        replayed=len(released) - len(by_state),
        without_entry=sum(entry not in paid for entry in released),
        differing_replays=sum(len(updates) > 1 for updates in by_state.values()),
        longest_epoch_s=round(longest, 3),
    )
