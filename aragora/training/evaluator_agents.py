"""Agents for an A/B test by words of a command line: also models of the registry, by their ids."""

from __future__ import annotations

from collections.abc import Sequence

from aragora.agents.protocol import Agent
from aragora.agents.spelling import read_agents
from aragora.agents.tinker_agent import TinkerAgent
from aragora.errors import RegistryError
from aragora.memory.store import Memory
from aragora.training.model_registry import get_registry


def read_contestants(words: Sequence[str], memory: Memory) -> list[Agent]:
    """One agent for each word; `name=id` with an id of the registry is that model on its base.

    Raises UsageError naming the word.
    """
    registry = get_registry()
    out: list[Agent] = []
    for word in words:
        name, _, given = word.partition("=")
        try:
            model = registry.get(given) if given else None
        except RegistryError:
            model = None
        if model is None:
            out += read_agents([word], memory)
        else:
            out.append(TinkerAgent(name, model.base_model, model.model_id))
    return out
