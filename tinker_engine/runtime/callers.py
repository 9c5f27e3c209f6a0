"""On whose behalf code runs: which API key a request came with, and what that key may use.

The server sets the caller of each request, and jobs that a request leaves behind carry it along.
Every look-up of a session, run, sampler or checkpoint asks here, so a route can't forget to. What
runs for nobody in particular (start-up, housekeeping, signed links) has no caller and sees all.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# Owner of what the server's own key makes, and of all that was made before keys were told apart.
LOCAL = "local"


@dataclass(frozen=True)
class Limits:
    """What one key may use at the same time; None is no limit."""

    max_runs: int | None = None
    max_tokens_in_flight: int | None = None
    max_disk_bytes: int | None = None


@dataclass(frozen=True)
class Caller:
    """The owner (an id of a key) and its limits."""

    owner: str
    limits: Limits = Limits()


_caller: ContextVar[Caller | None] = ContextVar("tinker_engine_caller", default=None)


def current_caller() -> Caller | None:
    """Who the running code works for; None for the engine itself."""
    return _caller.get()


def current_owner() -> str | None:
    """Whose things the running code may see; None for all."""
    caller = _caller.get()
    return None if caller is None else caller.owner


def owner_of_new() -> str:
    """Who owns what is made now."""
    return current_owner() or LOCAL


def scoped(text: str) -> str:
    """A text to make an id from, so that two owners never arrive at the same one."""
    owner = owner_of_new()
    return text if owner == LOCAL else f"{owner}\0{text}"


@contextmanager
def acting_for(caller: Caller | None) -> Generator[None]:
    """Run the block on behalf of a caller."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)
