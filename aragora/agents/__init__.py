"""Those who debate: a small Protocol, agents on the Tinker API, agents of other providers.

from aragora.agents.api_agents import ProviderAgent, TinkerAgent

ann = TinkerAgent(name="ann")
bob = ProviderAgent(name="bob", provider="openai", model="gpt-5", api_key="…")
"""

from __future__ import annotations

from aragora.agents.protocol import Agent
from aragora.agents.records import AgentIdentity, Ballot, Candidate, Context, Quote, Reply

__all__ = ["Agent", "AgentIdentity", "Ballot", "Candidate", "Context", "Quote", "Reply"]
