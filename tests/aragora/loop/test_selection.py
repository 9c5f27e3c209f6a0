"""The table of agents says what was measured, and marks what rests on little."""

from __future__ import annotations

import asyncio

import pytest
from scripted import Scripted

from aragora.debate import Arena, Environment, KeyVerifier, load_protocol
from aragora.memory import Memory
from aragora.ranking import selection


def test_agents_are_listed_by_domain_with_how_much_is_known(
    memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(selection.FEW_DEBATES):
        agents = [Scripted("ann", ["4"]), Scripted("bob", ["4"]), Scripted("cem", ["5"])]
        env = Environment(
            f"2 + 2? ({number})", domain="sums", split="held_out", verifier=KeyVerifier("4")
        )
        asyncio.run(Arena(env, agents, load_protocol("voting"), memory=memory, seed=1).run())
    found = selection.choices(memory)
    assert [c.agent for c in found[:2]] == ["ann", "bob"]
    assert [(c.right, c.checked) for c in found] == [(1.0, 10), (1.0, 10), (0.0, 10)]
    assert found[0].elo > found[2].elo
    assert not any(c.is_thin for c in found)
    assert selection.main(["--database", memory.url]) == 0
    assert "| sums | cem | none |" in capsys.readouterr().out
