"""Faulty agents never sink a debate, and 100 debates at once on one served engine all end well.

Each fault (hanging, crashing, silence, 1 MB of text, invalid JSON, orders to other agents, a wrong
type, broken characters) sits beside three real agents on `nano`; then all faults at once. Then 100
debates run concurrently through the SDK against `tinker-engine serve` in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aragora.agents.api_agents import TinkerAgent
from aragora.debate import Arena, Environment, load_protocol, to_html, to_markdown
from aragora.memory import Memory, StoredDebate
from evidence._faulty_agents import FAULTS, ORDERS, FaultyAgent
from evidence._report import conclude

DEBATES = 100
EXPECTED = {
    "hangs": {"timeout"},
    "crashes": {"crashed"},
    "silent": {"empty"},
    "babbles": {"cut", "unreadable"},
    "bad-json": {"ok", "unreadable"},
    "orders": {"ok", "unreadable"},
    "wrong-type": {"crashed"},
    "surrogates": {"ok", "unreadable"},
}
TASK = "Rule: If the score is above 24, answer wait; otherwise, answer go.\nCase: The score is 70."


def start_server(home: Path) -> tuple[subprocess.Popen[str], str, str]:
    """An engine in a process of its own: the process, its address and its key."""
    environ = {**os.environ, "TINKER_ENGINE_HOME": str(home / "engine"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tinker_engine.cli", "serve", "--port", "0", "--threads", "1",
         "--json"],
        env=environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(process.stdout.readline())
    return process, str(told["base_url"]), str(told["api_key"])


def real_agents() -> list[TinkerAgent]:
    """Three agents on the served base."""
    return [TinkerAgent(name, temperature=0.8) for name in ("ann", "bob", "cem")]


async def faulty_debate(memory: Memory, faults: tuple[str, ...]) -> StoredDebate:
    """One debate with faulty agents beside the real ones."""
    protocol = load_protocol(
        "debate", rounds=1, deadline_s=60.0, retries=1, max_tokens=24, stop_when_agreed=0.0
    )
    # Whoever hangs costs a deadline a stage; a real agent on a busy machine must still make it.
    slow = protocol.model_copy(update={"deadline_s": 15.0, "retries": 0, "concurrency": 256})
    agents = [*real_agents(), *(FaultyAgent(f) for f in faults)]
    chosen = slow if "hangs" in faults else protocol
    arena = Arena(Environment(TASK), agents, chosen, memory=memory, seed=3)
    return (await arena.run()).stored


def problems(stored: StoredDebate, faults: tuple[str, ...]) -> list[str]:
    """What is wrong with how a debate dealt with its faulty agents."""
    found: list[str] = []
    if stored.debate.state != "done" or stored.outcome is None:
        found.append(f"ended as {stored.debate.state}")
    real = [m for m in stored.messages if m.seat < 3]
    failed = [m for m in real if not m.is_usable]
    found += [f"{m.phase} of seat {m.seat}: {m.status} {m.error}" for m in failed]
    for seat, fault in enumerate(faults, 3):
        statuses = {m.status for m in stored.messages if m.seat == seat}
        if not statuses or not statuses <= EXPECTED[fault]:
            found.append(f"{fault} is stored as {statuses}")
        if any(v.choice_seat is not None for v in stored.votes if v.seat == seat):
            found.append(f"{fault} has a vote that counts")
    shown = "\n".join(str(p["content"]) for m in real for p in m.prompt)
    if "<|end|>" in shown or "<|system|>" in shown or "\u202e" in shown or "\nsystem:" in shown:
        found.append("an agent was shown a mark of another agent")
    longest = max(len(str(m.prompt)) for m in stored.messages)
    if longest > 20_000:
        found.append(f"an agent was shown {longest} characters")
    page, text = to_html(stored), to_markdown(stored)
    for fault in faults:
        if fault not in page or fault not in text:
            found.append(f"the transcript doesn't name {fault}")
    if "hangs" in faults and "no answer within" not in page:
        found.append("the transcript doesn't say who timed out")
    if "crashes" in faults and "the agent&#39;s own bug" not in page:
        found.append("the transcript doesn't say who crashed")
    return found


def questions(count: int) -> list[str]:
    """Tasks as `nano` knows them."""
    draw = random.Random(11)
    return [
        f"Rule: If the score is above {draw.randint(20, 60)}, answer wait; otherwise, answer go.\n"
        f"Case: The score is {draw.randint(10, 90)}."
        for _ in range(count)
    ]


async def many(memory: Memory) -> list[StoredDebate]:
    """All debates at once."""
    agents = real_agents()
    protocol = load_protocol("debate", rounds=1, max_tokens=24, deadline_s=600.0, retries=0)
    protocol = protocol.model_copy(update={"stop_when_agreed": 0.0})
    arenas = [
        Arena(Environment(q, domain="rules"), agents, protocol, memory=memory, seed=n)
        for n, q in enumerate(questions(DEBATES))
    ]
    return [result.stored for result in await asyncio.gather(*(a.run() for a in arenas))]


def main() -> None:
    """Faults one by one, all at once, then the crowd."""
    # What the faulty agents do is the point, not news.
    logging.getLogger("aragora").setLevel(logging.CRITICAL)
    wrong: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["ARAGORA_HOME"] = str(home / "aragora")
        process, url, key = start_server(home)
        try:
            os.environ["TINKER_BASE_URL"], os.environ["TINKER_API_KEY"] = url, key
            with Memory.open(str(home / "faults.sqlite3")) as memory:
                for faults in [*((f,) for f in FAULTS), FAULTS]:
                    stored = asyncio.run(faulty_debate(memory, faults))
                    label = faults[0] if len(faults) == 1 else "all at once"
                    wrong[label] = problems(stored, faults)
                    kinds = Counter(m.status for m in stored.messages)
                    print(f"{label:<12} {dict(kinds)} {wrong[label] or 'as it should be'}")
                began = time.monotonic()
                crowd = asyncio.run(many(memory))
                seconds = time.monotonic() - began
        finally:
            process.terminate()
            process.wait(timeout=30)
    bad = [m for d in crowd for m in d.messages if m.status != "ok"]
    done = sum(d.debate.state == "done" and d.outcome is not None for d in crowd)
    turns = sum(len(d.messages) for d in crowd)
    print(f"{done} of {DEBATES} debates done, {turns} turns, {len(bad)} failed, {seconds:.0f} s")
    print(f"orders that were contained: {ORDERS!r}")
    conclude(
        "arena-faults",
        {
            "faults": {k: len(v) for k, v in wrong.items()},
            "debates": done,
            "turns": turns,
            "failed_turns": len(bad),
            "seconds": round(seconds, 1),
        },
        holds=not any(wrong.values()) and done == DEBATES and not bad,
    )


if __name__ == "__main__":
    main()
