"""What a debate tells while it goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

EventKind = Literal[
    "begun", "resumed", "round", "asked", "said", "failed", "agreement", "outcome", "rated", "ended"
]


@dataclass(frozen=True)
class DebateEvent:
    """One event; `number` counts up within a run, `data` is JSON."""

    kind: EventKind
    debate_id: str
    number: int
    at: float
    data: dict[str, Any] = field(default_factory=dict[str, Any])

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {"event": self.kind, "debate": self.debate_id, "at": self.at, **self.data}
        )

    def as_server_sent(self) -> str:
        """The event in the form of `text/event-stream`; `json` has no line ends to break it."""
        return f"id: {self.number}\nevent: {self.kind}\ndata: {self.as_json()}\n\n"
