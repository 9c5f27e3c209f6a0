"""Faults that must hurt their own request and nothing else, and submits that are sent twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from evidence._chaos_server import ChaosServer
from tinker_engine.protocol.paths import parse_path
from tinker_engine.runtime.memory import resident_bytes
from tinker_engine.runtime.run_checkpoint import RUN_FILE
from tinker_engine.storage.checkpoints import CheckpointFolders

_STEPS = 4
_ROOM_BYTES = 512 << 20
_DISK_MIB = 24


class Trainer:
    """A run that is driven by bare requests, each sent once or twice."""

    def __init__(self, server: ChaosServer, number: int, *, twice: bool = False) -> None:
        self._server = server
        self._twice = twice
        self._seq = 0
        self.is_ahead = False
        session = self.post("/create_session", {"tags": [], "sdk_version": "0.38.0"}, once=True)
        body = {
            "session_id": session.json()["session_id"],
            "model_seq_id": number,
            "base_model": "nano",
            "lora_config": {"rank": 4, "seed": 7, "train_unembed": False},
        }
        self.run: str = self.result(self.post("/create_model", body))["model_id"]

    def post(self, route: str, body: dict[str, Any], *, once: bool = False) -> httpx.Response:
        """Send a request; the second answer counts when it is sent twice."""
        answer = self._server.http.post(route, json=body)
        if self._twice and not once:
            again = self._server.http.post(route, json=body)
            if answer.json() != again.json():
                raise RuntimeError(f"{route} sent twice: {answer.text} and {again.text}")
        return answer

    def ask(self, route: str, **fields: Any) -> httpx.Response:
        """Send a request of the run in the next place of its order."""
        self._seq += 1
        return self.post(route, {"model_id": self.run, "seq_id": self._seq, **fields})

    def ask_again(self, route: str, **fields: Any) -> httpx.Response:
        """Send the last request again."""
        return self.post(route, {"model_id": self.run, "seq_id": self._seq, **fields})

    def result(self, answer: httpx.Response) -> dict[str, Any]:
        """The result of a submitted request."""
        if not answer.is_success:
            return answer.json()
        request = {"request_id": answer.json()["request_id"]}
        while (fetched := self._server.http.post("/retrieve_future", json=request)).status_code in (
            408,
            503,
        ):
            pass
        return fetched.json()

    def learn(self, shift: int = 0, **loss: Any) -> dict[str, Any]:
        """One forward_backward on a fixed example."""
        return self.result(self.ask("/forward_backward", **learning(shift, **loss)))

    def step(self) -> dict[str, Any]:
        """One optimizer step."""
        return self.result(self.ask("/optim_step", adam_params={"learning_rate": 1e-3}))

    def train(self, steps: int = _STEPS) -> None:
        """Steps on changing examples."""
        for step in range(steps):
            self.learn(step)
            self.step()

    def save(self, name: str) -> dict[str, Any]:
        """Save the training state."""
        return self.result(self.ask("/save_weights", path=name))

    def digests(self, name: str = "end") -> dict[str, str]:
        """Digests of weights and optimizer as they are now."""
        saved = self.save(name)
        folders = CheckpointFolders(self._server.home / "runs")
        folder = folders.folder(parse_path(saved["path"]))
        listed = json.loads((folder / RUN_FILE).read_text("utf-8"))["sha256"]
        return {k: v for k, v in listed.items() if k.endswith(".safetensors")}


def learning(shift: int = 0, **loss: Any) -> dict[str, Any]:
    """The body of a forward_backward on one example."""
    tokens = [(token * 31 + shift) % 4000 + 10 for token in range(24)]
    inputs: dict[str, Any] = {"target_tokens": _tensor(tokens[1:], "int64")}
    for name, values in loss.items():
        inputs[name] = _tensor(values, "float32")
    datum = {
        "model_input": {"chunks": [{"type": "encoded_text", "tokens": tokens[:-1]}]},
        "loss_fn_inputs": inputs,
    }
    name = "importance_sampling" if loss else "cross_entropy"
    return {"forward_backward_input": {"data": [datum], "loss_fn": name}}


def _tensor(values: list[Any], dtype: str) -> dict[str, Any]:
    return {"data": values, "dtype": dtype, "shape": [len(values)]}


def check_faults(folder: Path) -> dict[str, dict[str, Any]]:
    """Cause each fault beside a healthy run, whose end must be that of an undisturbed one."""
    limit = resident_bytes() + _ROOM_BYTES
    server = ChaosServer(folder, memory_limit_bytes=limit)
    server.start()
    try:
        calm = Trainer(server, 0)
        calm.train()
        expected = calm.digests()
        twice = Trainer(server, 1, twice=True)
        twice.train()
        found = {
            "sent_twice": {"holds": twice.digests() == expected},
            "nan_batch": _beside(server, expected, nan_batch),
            "too_large": _beside(server, expected, too_large),
            "poisoned_step": _beside(server, expected, poisoned_step),
            "truncated_checkpoint": _beside(server, expected, truncated_checkpoint),
        }
        found["graceful_stop"] = graceful_stop(server, expected)
    finally:
        server.close()
    found["full_disk"] = full_disk(expected)
    return found


def _beside(server: ChaosServer, expected: dict[str, str], fault: Any) -> dict[str, Any]:
    """Run a fault in the middle of two healthy trainings: its own run's, and a neighbour's."""
    own, neighbour = Trainer(server, 0), Trainer(server, 1)
    own.train(2)
    neighbour.train(2)
    told = fault(server, own)
    for trainer in (own, neighbour):
        for step in (3,) if trainer.is_ahead else (2, 3):
            trainer.learn(step)
            trainer.step()
    is_unhurt = own.digests() == expected == neighbour.digests()
    return {"holds": is_unhurt and told["category"] == "user", "told": told["error"][:160]}


def nan_batch(_server: ChaosServer, own: Trainer) -> dict[str, Any]:
    """Importance ratios of e^1000: the loss is infinite."""
    return own.learn(logprobs=[-1000.0] * 23, advantages=[1.0] * 23)


def too_large(_server: ChaosServer, own: Trainer) -> dict[str, Any]:
    """Sparse targets of a few kilobytes that stand for ten times the memory there is."""
    rows, columns = 500, 4000
    count = 10 * _ROOM_BYTES // (rows * columns * 8)
    sparse = {
        "data": [],
        "dtype": "int64",
        "shape": [rows, columns],
        "sparse_crow_indices": [0] * (rows + 1),
        "sparse_col_indices": [],
    }
    datum = {
        "model_input": {"chunks": [{"type": "encoded_text", "tokens": [5] * rows}]},
        "loss_fn_inputs": {"target_tokens": sparse, "weights": {**sparse, "dtype": "float32"}},
    }
    given = {"data": [datum] * count, "loss_fn": "cross_entropy"}
    return own.result(own.ask("/forward_backward", forward_backward_input=given))


def poisoned_step(_server: ChaosServer, own: Trainer) -> dict[str, Any]:
    """A learning rate that no weight survives; the gradients wait for a better one."""
    own.learn(2)
    told = own.result(own.ask("/optim_step", adam_params={"learning_rate": 1e39}))
    # What was gathered is still there: one sound step takes it, and a fresh run replaces it.
    step = own.step()
    if "error" in step:
        return step
    # So that run has had its third step; its end is compared from there.
    own.is_ahead = True
    return told


def truncated_checkpoint(server: ChaosServer, own: Trainer) -> dict[str, Any]:
    """A checkpoint that lost its last byte."""
    path = own.save("broken")["path"]
    folder = CheckpointFolders(server.home / "runs").folder(parse_path(path))
    file = folder / "optimizer.safetensors"
    os.truncate(file, file.stat().st_size - 1)
    return own.result(own.ask("/load_weights", path=path, optimizer=True))


def graceful_stop(server: ChaosServer, expected: dict[str, str]) -> dict[str, Any]:
    """SIGTERM in the middle of a training: exit 0, and the next server answers what waited."""
    own = Trainer(server, 0)
    own.train(3)
    own.learn(3)
    waiting = own.ask("/optim_step", adam_params={"learning_rate": 1e-3})
    status = server.end(signal.SIGTERM)
    server.start()
    step = own.result(waiting)
    is_whole = step.get("metrics", {}).get("optimizer_step") == 4.0 and own.digests() == expected
    return {"holds": status == 0 and is_whole, "exit_status": status}


def full_disk(expected: dict[str, str]) -> dict[str, Any]:
    """A disk that fills up during a training and is cleared: refused meanwhile, then as ever."""
    with small_disk() as disk:
        if disk is None:
            return {"holds": False, "told": "no small filesystem could be mounted (needs root)"}
        server = ChaosServer(disk / "home")
        server.start()
        try:
            own = Trainer(server, 0)
            own.train(2)
            ballast = disk / "ballast"
            fill(ballast)
            refused = own.ask("/forward_backward", **learning(2))
            saved = server.http.get("/healthz").is_success
            told = refused.json() if refused.status_code == 507 else {"error": "not refused"}
            clearing = threading.Timer(1.0, ballast.unlink)
            clearing.start()
            # As the SDK does: the same request again until it is taken.
            while (again := own.ask_again("/forward_backward", **learning(2))).status_code == 507:
                time.sleep(0.2)
            # It may be taken before: a few bytes are enough for it, and not for what follows.
            clearing.join()
            own.result(again)
            own.step()
            own.learn(3)
            own.step()
            is_unhurt = own.digests() == expected
        finally:
            server.close()
    holds = is_unhurt and saved and refused.status_code == 507
    return {"holds": holds, "told": told["error"][:160]}


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            return


@contextmanager
def small_disk() -> Generator[Path | None]:
    """A filesystem of a few MiB, None where mounting is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    options = ["-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
        folder.rmdir()
