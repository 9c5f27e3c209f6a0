"""A server killed ten times under four training clients loses no step and doubles none.

Four processes train with the official SDK, one of them privately, while the server is killed with
SIGKILL at random moments and started again. Their losses, samples, weights and optimizers must be
those of an undisturbed training, bit for bit. The noise of the private run is real, so its end is
checked against its ledger: one event per step, and the updates that are recorded there lead to just
its weights. Then: every submit sent twice, and four faults that must hurt nobody else.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from evidence._chaos_client import RATE, STEPS, Client
from evidence._chaos_faults import check_faults
from evidence._chaos_server import ChaosServer
from evidence._report import conclude
from tinker_engine.config import EngineConfig
from tinker_engine.models.base_model import load_base
from tinker_engine.privacy.accountant import epsilon_spent
from tinker_engine.protocol.paths import CheckpointPath, parse_path
from tinker_engine.runtime.records import AdamParams
from tinker_engine.runtime.run_checkpoint import RUN_FILE
from tinker_engine.runtime.torch_backend import TorchBackend
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.database import Database
from tinker_engine.storage.store import Store

KILLS = 10
CLIENTS = 4
LONGEST_WAIT_S = 1.5


def train(folder: Path, generator: random.Random | None) -> list[dict[str, Any]]:
    """Four clients train to their end, disturbed if there is a generator; gives what they got."""
    folder.mkdir()
    server = ChaosServer(folder / "home")
    server.start()
    clients = [Client(number, folder / f"{number}.jsonl") for number in range(CLIENTS)]
    processes = [client.start(server.url) for client in clients]
    try:
        if generator is not None:
            disturb(server, clients, generator)
        failed = [os.waitpid(process, 0)[1] for process in processes]
    finally:
        server.close()
    if any(failed):
        logs = [client.report.with_suffix(".log").read_text("utf-8")[-2000:] for client in clients]
        raise RuntimeError("\n".join(["a client failed", *logs]))
    return [outcome(client, CheckpointFolders(folder / "home" / "runs")) for client in clients]


def disturb(server: ChaosServer, clients: list[Client], generator: random.Random) -> None:
    """Kill the server ten times, a random while after one client, each in its turn, went on.

    Otherwise one client would get along while the others wait longer and longer to connect again.
    """
    for kill in range(KILLS):
        client = clients[kill % CLIENTS]
        before = written(client)
        while written(client) == before:
            time.sleep(0.02)
        pause = generator.uniform(0.0, LONGEST_WAIT_S)
        time.sleep(pause)
        done = [sum("step" in line for line in client.lines()) for client in clients]
        server.end(signal.SIGKILL)
        print(
            f"kill {kill + 1:2d}: {pause:.3f} s after client {client.number} went on, "
            f"at steps {done}"
        )
        server.start()


def written(client: Client) -> int:
    """How much a client has written down."""
    return client.report.stat().st_size if client.report.exists() else 0


def outcome(client: Client, folders: CheckpointFolders) -> dict[str, Any]:
    """What a client was told, and the digests of what it ended with."""
    *lines, end = client.lines()
    folder = folders.folder(parse_path(end["end"]))
    facts = json.loads((folder / RUN_FILE).read_text("utf-8"))
    return {
        "run": end["run"],
        "steps": [line["step"] for line in lines],
        "losses": [line["losses"] for line in lines],
        "sampled": [line["sampled"] for line in lines if "sampled" in line],
        "last_step": facts["step"],
        "digests": {k: v for k, v in facts["sha256"].items() if k.endswith(".safetensors")},
    }


def ledger_leads_there(home: Path, private: dict[str, Any]) -> bool:
    """Whether the recorded updates, applied one after the other, give the run's own end."""
    database = Database(EngineConfig(home=home).resolved_database_url)
    spec = Store(database).run(private["run"]).spec
    database.close()
    folders = CheckpointFolders(home / "runs")
    backend = TorchBackend(load_base("nano"), EngineConfig(threads=1, precision="fp32"))
    backend.create_run("again", spec, folders.ledger_dir(private["run"]))
    for _ in range(STEPS):
        # Without gradients: a state that was paid for before gets its recorded update.
        backend.optim_step("again", AdamParams(learning_rate=RATE))
    record = backend.privacy("again")
    path = folders.folder(CheckpointPath(private["run"], "weights", "replayed"))
    backend.save_state("again", path)
    digests = json.loads((path / RUN_FILE).read_text("utf-8"))["sha256"]
    is_same = all(digests[name] == digest for name, digest in private["digests"].items())
    return record is not None and record.steps == STEPS and is_same


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(10**9)
    print(f"seed {seed}; {CLIENTS} clients, {STEPS} steps each, {KILLS} kills")
    torch.set_num_threads(1)
    # What takes seconds the first time is done before the forks, which inherit it.
    epsilon_spent({(1.0, 0.1): 1}, 1e-5)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        folder = Path(scratch)
        calm = train(folder / "calm", None)
        print(f"undisturbed: {time.monotonic() - began:.0f} s")
        wild = train(folder / "wild", random.Random(seed))
        print(f"with kills: {time.monotonic() - began:.0f} s in all")
        counted = all(o["steps"] == [float(i + 1) for i in range(STEPS)] for o in wild)
        counted = counted and all(o["last_step"] == STEPS for o in wild)
        same = {
            what: sum(a[what] == b[what] for a, b in zip(calm[:3], wild[:3], strict=True))
            for what in ("digests", "losses", "sampled")
        }
        print(f"equal to undisturbed, of 3: {same}")
        faults = check_faults(folder / "faults")
        # Last, because torch may not be used in a process before it forks.
        is_paid_once = ledger_leads_there(folder / "wild" / "home", wild[3])
        print(f"the private run equals its ledger: {is_paid_once}")
    for name, fault in faults.items():
        print(f"{name}: {fault}")
    holds = (
        counted
        and all(count == 3 for count in same.values())
        and is_paid_once
        and all(fault["holds"] for fault in faults.values())
    )
    figures = {
        "seed": seed,
        "kills": KILLS,
        "steps_lost_or_doubled": 0 if counted else None,
        "runs_equal_to_undisturbed": same["digests"],
        "private_run_equals_its_ledger": is_paid_once,
        **{name: fault["holds"] for name, fault in faults.items()},
        "seconds": round(time.monotonic() - began),
    }
    conclude("chaos", figures, holds=holds)


if __name__ == "__main__":
    main()
