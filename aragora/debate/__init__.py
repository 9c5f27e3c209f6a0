"""Debates: agents propose, criticise, revise and vote; everything said is stored.

import asyncio
from aragora.agents.api_agents import TinkerAgent
from aragora.debate import Arena, Environment, load_protocol

agents = [TinkerAgent(name) for name in ("ann", "bob", "cem")]
env = Environment("Rule: above 24, answer wait; otherwise go.\\nThe score is 70.")
print(asyncio.run(Arena(env, agents, load_protocol("debate")).run()).answer)
"""

from __future__ import annotations

from aragora.debate.arena import Arena, DebateResult
from aragora.debate.environment import CheckVerifier, Environment, KeyVerifier, Verifier
from aragora.debate.events import DebateEvent
from aragora.debate.protocol import DebateProtocol, load_protocol, protocol_names

__all__ = [
    "Arena",
    "CheckVerifier",
    "DebateEvent",
    "DebateProtocol",
    "DebateResult",
    "Environment",
    "KeyVerifier",
    "Verifier",
    "load_protocol",
    "protocol_names",
]
