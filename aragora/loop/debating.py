"""The debates of one round on training tasks, without any key; interrupted ones go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aragora.agents.tinker_agent import TinkerAgent
from aragora.debate import Arena, DebateProtocol, Environment
from aragora.loop.settings import LoopSettings
from aragora.loop.tasks import LoopTask
from aragora.memory import DebateFilter, Memory
from aragora.memory.identity import digest_of

ROUND_LABEL, TASK_LABEL = "loop_round", "loop_task"
_SEED_SPACE = 2**31 - 1


async def debate_tasks(
    agents: Sequence[TinkerAgent],
    tasks: Sequence[LoopTask],
    protocol: DebateProtocol,
    memory: Memory,
    settings: LoopSettings,
    number: int,
    tell: Callable[[int, int], None],
) -> dict[str, Any]:
    """Debate every task once; gives counts, and when the first of these debates began.

    A debate that ended is not held again, one that was cut off goes on behind its last turn.
    """
    known: dict[str, tuple[str, str]] = {}
    for stored in memory.debates.iterate(DebateFilter(split="train", state=None)):
        labels = stored.debate.labels
        if labels.get(ROUND_LABEL) == number:
            known[str(labels[TASK_LABEL])] = (stored.debate.id, stored.debate.state)
    slots = asyncio.Semaphore(settings.concurrency)
    done = 0

    async def one(task: LoopTask) -> None:
        nonlocal done
        async with slots:
            had = known.get(task.id)
            if had is None:
                env = Environment(
                    task.task,
                    context=task.context,
                    domain=task.domain,
                    split="train",
                    labels={ROUND_LABEL: number, TASK_LABEL: task.id},
                )
                seed = int(digest_of([settings.seed, number, task.id])[:12], 16) % _SEED_SPACE
                await Arena(env, agents, protocol, memory=memory, seed=seed).run()
            elif had[1] != "done":
                await Arena.resume(had[0], agents, memory=memory).run()
        done += 1
        tell(done, len(tasks))

    await asyncio.gather(*(one(task) for task in tasks))
    return _counts(memory, number)


def _counts(memory: Memory, number: int) -> dict[str, Any]:
    debates = reached = prompt = completion = 0
    since: float | None = None
    until = 0.0
    for stored in memory.debates.iterate(DebateFilter(split="train")):
        if stored.debate.labels.get(ROUND_LABEL) != number:
            continue
        debates += 1
        reached += stored.outcome is not None and stored.outcome.is_reached
        prompt += stored.debate.prompt_tokens
        completion += stored.debate.completion_tokens
        began = stored.debate.started_at
        since = began if since is None else min(since, began)
        until = max(until, began)
    return {
        "debates": debates,
        "reached": reached,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "since": since or 0.0,
        "until": until,
    }
