"""Agents as words on a command line: `name`, `name=model`, `name=provider:model`, `…@role`.

A model alone is asked of the Tinker engine at hand. `openai:`, `anthropic:` and `gemini:` name a
provider, `http://host/v1:model` an OpenAI-compatible server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from aragora.agents.protocol import Agent
from aragora.agents.provider_agent import ProviderAgent
from aragora.agents.tinker_agent import TinkerAgent
from aragora.errors import UsageError
from aragora.memory.records import Role
from aragora.memory.store import Memory


def read_agents(words: Sequence[str], memory: Memory) -> list[Agent]:
    """Agents for words or comma-separated words; their adapter events go into the memory.

    Raises UsageError naming the word.
    """
    parts = [p.strip() for word in words for p in word.split(",") if p.strip()]
    if not parts:
        raise UsageError("name at least one agent, as in --agents ann,bob,cem")
    agents = [_read(part, memory.standings.add_event) for part in parts]
    names = [agent.name for agent in agents]
    if len(set(names)) != len(names):
        raise UsageError(f"agents need different names, not {', '.join(names)}")
    return agents


def _read(word: str, on_event: object) -> Agent:
    name, _, rest = word.partition("=")
    if rest:
        model, _, role = rest.partition("@")
    else:
        name, _, role = name.partition("@")
        model = ""
    role = role or "proposer"
    if not name or role not in get_args(Role):
        raise UsageError(
            f"agent {word!r} is not of the form name=model@role with a role of "
            f"{', '.join(get_args(Role))}"
        )
    seat = cast(Role, role)
    if model.startswith(("http://", "https://")):
        url, _, served = model.rpartition(":")
        if not url.startswith("http") or "/" not in url.removeprefix("http://"):
            raise UsageError(f"agent {word!r}: expected http://host:port/v1:model")
        return ProviderAgent(name, "openai-compatible", served, seat, base_url=url)
    for provider in ("openai", "anthropic", "gemini"):
        if model.startswith(f"{provider}:"):
            return ProviderAgent(name, provider, model.removeprefix(f"{provider}:"), seat)
    return TinkerAgent(
        name,
        model or None,
        role=seat,
        on_event=on_event,  # pyright: ignore[reportArgumentType]
    )
