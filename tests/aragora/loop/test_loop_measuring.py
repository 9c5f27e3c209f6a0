"""Measuring: the same seeds for every version, majority with ties shared."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from answering import Answering, always

from aragora.agents.tinker_agent import TinkerAgent
from aragora.loop import LoopSettings, LoopTask
from aragora.loop.measuring import measure

TASKS = [LoopTask("one?", "right"), LoopTask("two?", "right")]


def found(agent: Answering, samples: int) -> Any:
    return asyncio.run(measure(cast("TinkerAgent", agent), TASKS, LoopSettings(samples=samples)))


def test_accuracies_are_of_tasks() -> None:
    def said(task: str, seed: int, temperature: float | None) -> str:
        if temperature == 0.0:
            return "right" if task == "one?" else "wrong"
        return "Right." if task == "one?" else ("right" if seed % 2 else f"wrong {seed}")

    result = found(Answering("a", said), 4)
    assert result.single[0] == 1.0
    assert result.greedy == (1.0, 0.0)
    assert 0.0 <= result.accuracy <= 1.0
    assert result.completion_tokens == 8


def test_a_tied_vote_counts_by_share() -> None:
    count = 0

    def said(task: str, seed: int, temperature: float | None) -> str:
        nonlocal count
        count += 1
        return ("right", "wrong")[count % 2]

    result = found(Answering("a", said), 2)
    assert result.majority == (0.5, 0.5)


def test_two_versions_are_asked_under_the_same_seeds() -> None:
    agents = [Answering("a", always("x")), Answering("b", always("x"))]
    for agent in agents:
        found(agent, 3)
    assert sorted(agents[0].seeds) == sorted(agents[1].seeds)
    assert len(set(agents[0].seeds)) == len(agents[0].seeds)
