"""How a running request is observed: its tokens as they come, and whether it is still wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinker_engine.runtime.records import TokenEvent


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """`on_token` gets each token; `is_cancelled` is asked before each step."""

    on_token: Callable[[TokenEvent], None] | None = None
    is_cancelled: Callable[[], bool] = _never
