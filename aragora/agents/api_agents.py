"""Every kind of agent, importable from one place."""

from __future__ import annotations

from aragora.agents.provider_agent import ProviderAgent
from aragora.agents.tinker_agent import (
    TinkerAgent,
    TinkerDeepSeekAgent,
    TinkerLlamaAgent,
    TinkerQwenAgent,
)

__all__ = [
    "ProviderAgent",
    "TinkerAgent",
    "TinkerDeepSeekAgent",
    "TinkerLlamaAgent",
    "TinkerQwenAgent",
]
