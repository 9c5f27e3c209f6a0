"""Debates: agents propose, criticise, revise and vote; everything said is stored.

import asyncio
from aragora.agents.api_agents import TinkerAgent
from aragora.debate import Arena, Environment, load_protocol

agents = [TinkerAgent(name) for name in ("ann", "bob", "cem")]
env = Environment("$52.74 or $74.29: which is dearer?")
print(asyncio.run(Arena(env, agents, load_protocol("debate")).run()).answer)
"""

from __future__ import annotations

from aragora.debate.arena import Arena, DebateResult
from aragora.debate.environment import CheckVerifier, Environment, KeyVerifier, Verifier
from aragora.debate.events import DebateEvent
from aragora.debate.protocol import DebateProtocol, load_protocol, protocol_names
from aragora.debate.replay import replay
from aragora.debate.transcript import to_html, to_markdown

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
    "replay",
    "to_html",
    "to_markdown",
]
