"""Agents switch adapters during debates through the gate alone; a refused one changes nothing.

Two adapters are trained, packed and admitted. While debates run, one agent is switched between
them, offered packages that break each rule of the load gate, and told to use adapters that were
never admitted or whose file was exchanged. What it says afterwards names the adapter that answered.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aragora.agents.adapters import PackageAdmission
from aragora.agents.api_agents import TinkerAgent
from aragora.debate import Arena, Environment, load_protocol
from aragora.errors import AdapterRefusedError
from aragora.memory import DebateFilter, Memory
from aragora.training import TinkerClient
from evidence._gate_cases import bad_cases
from evidence._gate_packages import good_package, resigned
from evidence._report import conclude
from tensafe.screen.tasks import task_dataset
from tensafe.tgsp import KeyPair, ensure_signing_key, passphrase_source

TASK = "Rule: If the score is above 24, answer wait; otherwise, answer go.\nCase: The score is 70."
ROWS, EPOCHS = 160, 2.0


@dataclass
class Watched:
    """One agent under test: what it should be using, and what was seen."""

    agent: TinkerAgent
    switches: list[tuple[float, str | None]] = field(default_factory=list[Any])
    switch_s: list[float] = field(default_factory=list[float])
    refused: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    def switch(self, adapter: str, digest: str) -> None:
        """Change to an admitted adapter."""
        began = time.perf_counter()
        self.agent.set_adapter(adapter)
        self.switch_s.append(time.perf_counter() - began)
        self.switches.append((time.time(), digest))
        if self.agent.identity().adapter_digest != digest:
            self.wrong.append(f"switched to {adapter} and is {self.agent.identity().adapter}")

    def expect_refusal(self, what: str, words: str, attempt: Callable[[], object]) -> None:
        """Try what must be refused for a reason that has these words, and change nothing."""
        before = self.agent.identity()
        try:
            attempt()
            self.wrong.append(f"{what} was not refused")
        except AdapterRefusedError as error:
            self.refused[what] += 1
            if words not in str(error):
                self.wrong.append(f"{what} was refused for {error}")
        if self.agent.identity() != before:
            self.wrong.append(f"{what} changed the agent to {self.agent.identity().adapter}")

    def may_be(self, started_at: float, ended_at: float) -> set[str | None]:
        """The digests that a turn of this span may have been answered with."""
        earlier = [digest for at, digest in self.switches if at <= started_at]
        return {earlier[-1] if earlier else None} | {
            digest for at, digest in self.switches if started_at <= at <= ended_at
        }


async def trained(folder: Path) -> list[Path]:
    """PEFT folders of two adapters that learned different things."""
    folders: list[Path] = []
    async with TinkerClient() as client:
        for place, seed in enumerate((11, 12)):
            rows = [{"messages": e.messages} for e in task_dataset("sorting", seed).train[:ROWS]]
            result = await client.train_sft(
                rows, adapter_name=f"adapter-{place}", lora_rank=8, epochs=EPOCHS,
                learning_rate=2e-3, seed=seed,
            )  # fmt: skip
            folders.append(folder / f"adapter-{place}")
            await client.save_checkpoint(result.model_id, folders[-1])
    return folders


def bad_packages(good: Path, folder: Path, signer: KeyPair) -> list[tuple[str, str, Path]]:
    """One package for each step of the gate that can refuse one: what is wrong, words, file."""
    chosen: dict[str, tuple[str, str, Path]] = {}
    for place, case in enumerate(bad_cases()):
        if case.step not in chosen:
            path = folder / f"bad-{place}.tgsp"
            path.write_bytes(case.make(good.read_bytes(), signer))
            chosen[case.step] = (f"{case.name} ({case.step})", case.step, path)

    def thousandfold(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: value * 1000 for name, value in tensors.items()}

    grown = folder / "grown.tgsp"
    grown.write_bytes(resigned(good.read_bytes(), signer, tensors=thousandfold))
    return [*chosen.values(), ("weights a thousandfold (rvu_v2)", "rvu_v2", grown)]


async def debates(
    memory: Memory, watched: Watched, actions: list[Callable[[], None]]
) -> tuple[int, list[str]]:
    """Run debates until every action was done between two of their events; their wrong turns."""
    wrong: list[str] = []
    protocol = load_protocol("debate", rounds=2, max_tokens=16, deadline_s=300.0, retries=0)
    protocol = protocol.model_copy(update={"stop_when_agreed": 0.0})
    held = turns = 0
    while actions:
        agents = [watched.agent, TinkerAgent("bob"), TinkerAgent("cem")]
        arena = Arena(Environment(TASK), agents, protocol, memory=memory, seed=held)
        async for event in arena.stream():
            if event.kind in ("said", "round") and actions:
                actions.pop(0)()
        stored = memory.debates.get(arena.debate_id)
        held += 1
        if stored.debate.state != "done":
            wrong.append(f"a debate ended as {stored.debate.state}")
        for message in stored.messages:
            allowed: set[str | None] = {None}
            if message.seat == 0:
                turns += 1
                ended_at = message.started_at + message.latency_s
                allowed = watched.may_be(message.started_at, ended_at)
            if message.status != "ok" or message.adapter_digest not in allowed:
                wrong.append(
                    f"seat {message.seat} {message.phase}: {message.status} {message.error or ''} "
                    f"{message.adapter_digest}, allowed {allowed}"
                )
    print(f"{held} debates, {turns} turns of the agent under test")
    return turns, wrong


async def run(folder: Path, memory: Memory, signer: KeyPair) -> dict[str, Any]:
    """Everything: train, pack, debate, switch, refuse."""
    adapters = await trained(folder)
    agent = TinkerAgent("ann", admission=PackageAdmission(), on_event=memory.standings.add_event)
    running = agent.open().running()
    assert running is not None
    packages = [
        good_package(folder / f"{adapter.name}.tgsp", adapter, running, signer)
        for adapter in adapters
    ]
    bad = bad_packages(packages[0], folder, signer)
    watched = Watched(agent)
    digests: dict[str, str] = {}

    def admit(place: int) -> None:
        name = f"adapter-{place}"
        digests[name] = agent.admit(name, packages[place]).payload_digest

    def switch(place: int) -> None:
        watched.switch(f"adapter-{place}", digests[f"adapter-{place}"])

    def refuse(what: str, words: str, path: Path) -> None:
        watched.expect_refusal(what, words, lambda: agent.admit("bad", path))

    def refuse_unknown() -> None:
        watched.expect_refusal(
            "never admitted", "was not admitted", lambda: agent.set_adapter("bad")
        )

    def refuse_exchanged() -> None:
        # A process that comes later finds the set on disk; its package is another by now.
        kept = packages[0].read_bytes()
        packages[0].write_bytes(bad[-1][2].read_bytes())
        later = Watched(TinkerAgent("ann"))
        later.expect_refusal(
            "exchanged after admission",
            "no longer what was admitted",
            lambda: later.agent.set_adapter("adapter-0"),
        )
        packages[0].write_bytes(kept)
        watched.wrong += later.wrong
        watched.refused += later.refused

    actions: list[Callable[[], None]] = [
        refuse_unknown, lambda: admit(0), lambda: switch(0), lambda: admit(1), lambda: switch(1),
    ]  # fmt: skip
    for place, (what, words, path) in enumerate(bad):
        actions += [
            lambda what=what, words=words, path=path: refuse(what, words, path),
            lambda place=place: switch(place % 2),
        ]
    actions += [refuse_unknown, refuse_exchanged]
    planned = len(bad) + 3
    turns, wrong = await debates(memory, watched, actions)
    answered = Counter(
        m.adapter_digest
        for d in memory.debates.iterate(DebateFilter())
        for m in d.messages
        if m.seat == 0
    )
    events = Counter(e.kind for e in memory.standings.events("ann"))
    for what, count in watched.refused.items():
        print(f"refused {count} times: {what}")
    for problem in (*watched.wrong, *wrong):
        print(f"wrong: {problem}")
    is_logged = (
        events["admitted"] == 2
        and events["switched"] == len(watched.switch_s)
        and events["refused"] >= planned - 1
    )
    return {
        "turns": turns,
        "turns_by_adapter": {str(k)[:8]: n for k, n in answered.items()},
        "refused": sum(watched.refused.values()),
        "planned_refusals": planned,
        "switches": len(watched.switch_s),
        "median_switch_ms": round(statistics.median(watched.switch_s) * 1000, 2),
        "events": dict(events),
        "wrong": len(watched.wrong) + len(wrong),
        "is_logged": is_logged,
        "adapters_that_answered": len({k for k in answered if k is not None}),
    }


def main() -> None:
    """In homes of its own, on the embedded engine."""
    for name in ("TINKER_BASE_URL", "TINKER_API_KEY", "TINKER_BASE_MODEL"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for variable, place in (
            ("ARAGORA_HOME", "aragora"),
            ("TENSAFE_HOME", "tensafe"),
            ("TINKER_ENGINE_HOME", "engine"),
            ("TINKER_MODEL_REGISTRY", "models.json"),
        ):
            os.environ[variable] = str(folder / place)
        os.environ["TENSAFE_KEY_PASSPHRASE"] = "correct horse battery"
        signer = ensure_signing_key("Ada", passphrase=passphrase_source())
        with Memory.open(str(folder / "debates.sqlite3")) as memory:
            figures = asyncio.run(run(folder, memory, signer))
    conclude(
        "gated-agents",
        figures,
        holds=figures["wrong"] == 0
        and figures["refused"] == figures["planned_refusals"]
        and figures["is_logged"]
        and figures["adapters_that_answered"] == 2,
    )


if __name__ == "__main__":
    main()
