"""Held-out answers of one version, scored by the key: alone, by majority, and greedy.

The agent is asked as debaters are first asked: the task alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from aragora.agents.reading import read_answer
from aragora.agents.records import Context, Reply
from aragora.agents.tinker_agent import TinkerAgent
from aragora.loop.settings import LoopSettings
from aragora.loop.state import Measured
from aragora.loop.tasks import LoopTask
from aragora.memory.identity import answer_key, digest_of

_SEED_SPACE = 2**31 - 1
_AT_A_TIME = 64


async def measure(
    agent: TinkerAgent, tasks: Sequence[LoopTask], settings: LoopSettings
) -> Measured:
    """Ask each task `samples` times at the loop's temperature, and once at 0.

    Seeds depend on the task and the sample alone, so that all versions are measured alike. A failed
    call raises: a measurement with holes is none.
    """
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def ask(task: LoopTask, sample: int, temperature: float) -> Reply:
        seed = int(digest_of([settings.seed, task.id, sample])[:12], 16) % _SEED_SPACE
        context = Context(seed=seed, temperature=temperature, max_tokens=settings.max_tokens)
        async with slots:
            return await agent.respond(task.question, context)

    drawn = [(task, n) for task in tasks for n in range(settings.samples)]
    replies, best = await asyncio.gather(
        asyncio.gather(*(ask(task, n, settings.temperature) for task, n in drawn)),
        asyncio.gather(*(ask(task, -1, 0.0) for task in tasks)),
    )
    single: list[float] = []
    majority: list[float] = []
    for place, task in enumerate(tasks):
        start = place * settings.samples
        answers = [read_answer(r.text) or "" for r in replies[start : start + settings.samples]]
        single.append(sum(task.is_right(a) for a in answers) / len(answers))
        majority.append(_majority(task, answers))
    return Measured(
        tuple(single),
        tuple(majority),
        tuple(
            float(task.is_right(read_answer(r.text) or ""))
            for task, r in zip(tasks, best, strict=True)
        ),
        sum(r.prompt_tokens for r in replies),
        sum(r.completion_tokens for r in replies),
    )


def _majority(task: LoopTask, answers: Sequence[str]) -> float:
    """1 when the most frequent answer is right; of tied ones, the share that is."""
    counts = Counter(answer_key(a) for a in answers)
    most = max(counts.values())
    leaders = [key for key, count in counts.items() if count == most]
    return sum(key == answer_key(task.answer) for key in leaders) / len(leaders)
