"""A user's database of debates: real ones of the built-in base, by agents of unlike care.

Run as a module in that user's environment; prints how many debates found an answer.
"""

from __future__ import annotations

import asyncio

from aragora.agents.api_agents import TinkerAgent
from aragora.debate import Arena, Environment, load_protocol
from aragora.loop.demo_tasks import make_tasks
from aragora.memory import Memory

DEBATES, AT_ONCE = 80, 8
# Ratings come apart where one agent draws less likely answers than another.
TEMPERATURES = {"ann": 0.3, "bob": 0.8, "cem": 1.4}


async def _hold(memory: Memory) -> int:
    """Hold the debates; gives the number that reached a consensus."""
    agents = [TinkerAgent(name, temperature=heat) for name, heat in TEMPERATURES.items()]
    slots, (tasks, _) = asyncio.Semaphore(AT_ONCE), make_tasks(3, DEBATES, 0)

    async def one(place: int, task: dict[str, str]) -> bool:
        async with slots:
            environment = Environment(task["task"], domain=task["domain"])
            arena = Arena(environment, agents, load_protocol("weigh"), memory=memory, seed=place)
            return (await arena.run()).outcome.is_reached

    return sum(await asyncio.gather(*(one(place, task) for place, task in enumerate(tasks))))


def main() -> None:
    """Hold them in the database that the environment names."""
    with Memory.open(None) as memory:
        print(f"{asyncio.run(_hold(memory))} of {DEBATES} debates reached a consensus")


if __name__ == "__main__":
    main()
