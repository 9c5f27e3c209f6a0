"""An engine that is served, a host of slots beside it, and packages, for tests of swaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from evidence._gate_packages import good_package
from evidence._swap_adapters import CREATOR, PASSPHRASE, SKILLS, held_out, make_packages
from tensafe.gate.swap import SwapPolicy, SwapRecord, request_swap
from tensafe.gate.swap_desk import SwapDesk
from tensafe.gate.swap_host import SwapHost
from tensafe.screen.config import ScreenConfig
from tensafe.tgsp import Identity, KeyPair, KeyStore
from tensafe.tgsp.keystore import trust_path
from tensafe.tgsp.trust import trust
from tinker_engine.config import EngineConfig
from tinker_engine.models.adapter_files import read_adapter, write_adapter
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.host import Host
from tinker_engine.storage.api_keys import new_secret

QUICK = ScreenConfig(generation_tokens=8)
GATES = "The parcel of Ines with a lamp goes to the harbour. Which gate?"


class House:
    """Packages `strong` (of `steps` steps) and `faint` (its change made small), slots by name."""

    def __init__(self, folder: Path, steps: int | None = None) -> None:
        self.folder, self.home = folder, folder / "tensafe"
        self.packages = make_packages(folder, self.home, ("strong",), steps)
        self.signer = KeyStore(self.home).unlock(CREATOR, PASSPHRASE)
        self.approver = KeyPair.generate(Identity("Ann Approver", "ann@example.org"))
        trust(trust_path(self.home), self.approver.public)
        self.engine = Engine.open(EngineConfig(home=folder / "engine", threads=1))
        self.server = Host(self.engine, "127.0.0.1", 0, new_secret())
        self.server.start()
        files = read_adapter(folder / "strong")
        faint = {name: (a, b * 0.2) for name, (a, b) in files.factors.items()}
        write_adapter(folder / "faint", files.config, faint)
        self.packages["faint"] = good_package(
            folder / "faint.tgsp", folder / "faint", self.engine.base_info, self.signer,
            SKILLS["colours"],
        )  # fmt: skip
        self.host: SwapHost = self.open()

    @property
    def desk(self) -> SwapDesk:
        return self.host.desk

    def open(self) -> SwapHost:
        self.host = SwapHost(self.engine, self.server, home=self.home)
        self.damaged = self.host.start()
        return self.host

    def ask(self, slot: str, text: str) -> tuple[str, str]:
        """The digest that answered, and the answer."""
        answer = httpx.post(
            f"{self.server.base_url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {self.server.api_key}"},
            json={
                "model": slot,
                "messages": [{"role": "user", "content": text}],
                "temperature": 0,
                "max_tokens": 6,
            },
            timeout=60,
            trust_env=False,
        ).raise_for_status()
        body = answer.json()
        assert body["system_fingerprint"] == answer.headers["x-adapter-digest"]
        return answer.headers["x-adapter-digest"], body["choices"][0]["message"]["content"].strip()

    def change(self, slot: str, *names: str, **more: Any) -> SwapRecord:
        files = [self.packages[name] for name in names]
        return request_swap(slot, files, by="tests", service=self.desk, **more)

    def set_up(self) -> None:
        """A slot for the meta agent and one for a human."""
        policy = SwapPolicy(screen=QUICK)
        self.desk.create_slot("gates", held_out=held_out(count=20), policy=policy, by="tests")
        human = policy.model_copy(
            update={
                "approval": "human_in_loop",
                "approvers": (self.approver.public.fingerprint,),
            }
        )
        self.desk.create_slot("signed", held_out=held_out(count=20), policy=human, by="tests")

    def close(self) -> None:
        self.host.stop()
        self.server.stop()
