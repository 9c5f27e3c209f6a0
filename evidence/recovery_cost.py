"""Keeping runs over a crash costs at most a twentieth of a training step's time.

The same steps on the same base in one process, with and without recovery, in turn: CPU seconds of
the whole process (its flushing thread included), one thread, medians over rounds, as a ratio. What
would be replayed after a crash is told as well.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from evidence._report import conclude
from tinker_engine.config import EngineConfig
from tinker_engine.models.base_model import LoadedBase, load_base
from tinker_engine.protocol.training import TrainingCall, read_json_call
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.records import AdamParams, RunSpec
from tinker_engine.runtime.submissions import NewRun, Submission
from tinker_engine.runtime.torch_backend import TorchBackend

ROUNDS, STEPS = 9, 12
EXAMPLES, TOKENS, RANK = 16, 64, 16
MOST = 1.05
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Training:
    """One engine with one run, trained a round at a time."""

    def __init__(self, base: LoadedBase, home: Path, *, recovers: bool) -> None:
        config = EngineConfig(home=home, threads=1)
        home.mkdir()
        self.engine = Engine(config, TorchBackend(base, config), recovers=recovers)
        self.engine.start()
        session = self.engine.create_session(
            sdk_version="", display_name=None, user_metadata=None, retry_key=None
        )
        new = NewRun(session, 0, "nano", "new", spec=RunSpec(RANK, 32.0, SEVEN, seed=1))
        self.run, self._seq = new.run_id, 0
        self._wait(self.engine.runs.create(new))

    def round(self) -> float:
        """CPU seconds of a round of steps."""
        calls = [self._call() for _ in range(STEPS)]
        began = time.process_time()
        for call in calls:
            self._seq = call.seq_id or 0
            self.engine.runs.forward(Submission(self.run, self._seq, call.digest, "k"), call)
            self._seq += 1
            where = Submission(self.run, self._seq, f"step {self._seq}", "k")
            self._wait(self.engine.runs.optim_step(where, AdamParams(learning_rate=1e-3)))
        return time.process_time() - began

    def close(self) -> None:
        """Stop the engine."""
        self.engine.halt()
        self.engine.close()

    def _call(self) -> TrainingCall:
        rng = np.random.default_rng(self._seq)
        self._seq += 1
        data: list[dict[str, object]] = []
        for _ in range(EXAMPLES):
            tokens: list[int] = rng.integers(10, 4000, TOKENS + 1).tolist()
            targets = {"data": tokens[1:], "dtype": "int64", "shape": [TOKENS]}
            chunk = {"type": "encoded_text", "tokens": tokens[:-1]}
            data.append(
                {
                    "model_input": {"chunks": [chunk]},
                    "loss_fn_inputs": {"target_tokens": targets},
                }
            )
        given = {"data": data, "loss_fn": "cross_entropy"}
        body = {"model_id": self.run, "seq_id": self._seq, "forward_backward_input": given}
        self._seq += 1
        return read_json_call(json.dumps(body).encode(), forward_only=False)

    def _wait(self, request_id: str) -> None:
        future = asyncio.run(self.engine.futures.wait(request_id, 120))
        if future is None or not isinstance(future.outcome, dict):
            raise RuntimeError(f"{request_id}: {future and future.outcome}")


def main() -> None:
    torch.set_num_threads(1)
    base = load_base("nano")
    with tempfile.TemporaryDirectory(prefix="cost-") as scratch:
        without = Training(base, Path(scratch) / "without", recovers=False)
        kept = Training(base, Path(scratch) / "with", recovers=True)
        for training in (without, kept):
            training.round()
        pairs = [(without.round(), kept.round()) for _ in range(ROUNDS)]
        logs = list((Path(scratch) / "with" / "runs").rglob("log/*"))
        size = sum(file.stat().st_size for file in logs)
        states = sum(file.name.endswith(".state") for file in logs)
        for training in (without, kept):
            training.close()
    plain, recovering = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{STEPS} steps of {EXAMPLES} x {TOKENS} tokens at rank {RANK}, CPU s per round:")
    print(f"  without {plain:.3f}, with recovery {recovering:.3f}; ratio {ratio:.3f}")
    print(f"  on disk: {size / 2**20:.1f} MiB, {states} saved state")
    figures = {
        "ratio": round(ratio, 4),
        "ratios": [round(b / a, 3) for a, b in pairs],
        "tokens_per_cpu_s": round(STEPS * EXAMPLES * TOKENS / recovering),
        "disk_mib": round(size / 2**20, 1),
    }
    conclude("recovery-cost", figures, holds=ratio <= MOST)


if __name__ == "__main__":
    main()
