"""Engines that take over from each other: a copy of a home is what a killed process leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wire_bodies import forward_backward, json_datum

from tinker_engine.config import EngineConfig
from tinker_engine.models.base_model import LoadedBase
from tinker_engine.protocol.paths import CheckpointPath
from tinker_engine.protocol.training import read_json_call
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.futures import Failure, Outcome
from tinker_engine.runtime.records import AdamParams, PrivacyPolicy, RunSpec
from tinker_engine.runtime.submissions import NewRun, Submission
from tinker_engine.runtime.torch_backend import TorchBackend

TOKENS = [5, 6, 7, 8, 9, 10]
PRIVATE = PrivacyPolicy(
    clip_norm=1.0,
    sampling_rate=0.1,
    expected_batch_size=2.0,
    delta=1e-5,
    noise_multiplier=2.0,
    max_epsilon=1000.0,
)


class Life:
    """One engine, and a run on it that is driven by hand."""

    def __init__(self, base: LoadedBase, home: Path, **config: Any) -> None:
        settings = EngineConfig(home=home, threads=1, **config)
        self.home = home
        self.engine = Engine(settings, TorchBackend(base, settings), recovers=True)
        self.engine.start()

    def close(self) -> None:
        self.engine.halt()
        self.engine.close()

    def new_run(self, number: int = 0, privacy: PrivacyPolicy | None = None) -> str:
        session = self.engine.create_session(
            sdk_version="test", display_name=None, user_metadata=None, retry_key="one"
        )
        spec = RunSpec(4, 8.0, ("q_proj", "down_proj"), seed=3, privacy=privacy)
        new = NewRun(session, number, "nano", digest="new", spec=spec)
        outcome = self.outcome(self.engine.runs.create(new))
        assert not isinstance(outcome, Failure), outcome
        return new.run_id

    def learn(self, run: str, seq: int, tokens: list[int] = TOKENS) -> str:
        body = json.dumps(forward_backward(run, seq, json_datum(tokens))).encode()
        call = read_json_call(body, forward_only=False)
        return self.engine.runs.forward(Submission(run, seq, call.digest, "k"), call)

    def step(self, run: str, seq: int, rate: float = 1e-2) -> str:
        where = Submission(run, seq, digest=f"step {rate}", retry_key="k")
        return self.engine.runs.optim_step(where, AdamParams(learning_rate=rate))

    def save(self, run: str, seq: int, name: str) -> str:
        return self.engine.runs.save(
            Submission(run, seq, digest=f"save {name}", retry_key="k"),
            CheckpointPath(run, "weights", name),
            overwrite=False,
            user_metadata=None,
            ttl_s=None,
        )

    def outcome(self, request_id: str) -> Outcome:
        future = asyncio.run(self.engine.futures.wait(request_id, 60))
        assert future is not None
        assert future.outcome is not None
        return future.outcome

    def adapter_digest(self, run: str, name: str) -> str:
        folder = self.engine.folders.folder(CheckpointPath(run, "weights", name))
        return json.loads((folder / "run.json").read_text())["sha256"]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the compute thread busy: what is asked for meanwhile is accepted and not begun."""
        begun, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            assert go_on.wait(60)

        waiting = threading.Thread(target=self.engine.on_compute_thread, args=(wait,))
        waiting.start()
        assert begun.wait(60)
        try:
            yield
        finally:
            go_on.set()
            waiting.join()

    def copy(self, to: Path) -> Path:
        """The home as it would be if the process were killed now.

        A file that the engine renames or deletes while it is copied would make a home that never
        was; the copy is then made again.
        """
        names = shutil.ignore_patterns("engine.sqlite3*")
        for _ in range(50):
            try:
                shutil.copytree(self.home, to, ignore=names, ignore_dangling_symlinks=True)
                break
            except shutil.Error:
                shutil.rmtree(to)
        else:
            raise AssertionError(f"{self.home} never stood still for long enough to be copied")
        with (
            contextlib.closing(sqlite3.connect(self.home / "engine.sqlite3")) as source,
            contextlib.closing(sqlite3.connect(to / "engine.sqlite3")) as target,
        ):
            source.backup(target)
        return to
