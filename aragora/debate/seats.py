"""Who sits where: seats, letters, who sees whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, cast

from aragora.agents.protocol import Agent
from aragora.debate.protocol import DebateProtocol
from aragora.errors import DebateError

DEVILS_STANCE = (
    "You are the devil's advocate: argue for the strongest answer that differs from what the "
    "others agree on, and say why they may be wrong."
)


@dataclass(frozen=True)
class Seat:
    """One seat; `label` is the letter that others know a proposer by."""

    number: int
    label: str
    agent: Agent
    stance: str = ""


class Seats:
    """All seats of a debate, by role. An agent may hold several proposer seats.

    Raises DebateError when the roles can't carry the protocol.
    """

    def __init__(self, agents: Iterable[Any], protocol: DebateProtocol) -> None:
        everyone = _flat(agents)
        proposers = [a for a in everyone if a.role == "proposer"]
        if not proposers:
            raise DebateError("a debate needs at least one agent with role proposer")
        judges = sum(a.role == "judge" for a in everyone)
        if protocol.consensus == "judge" and judges != 1:
            raise DebateError(f"protocol {protocol.name!r} needs one judge, not {judges}")
        labels = iter(seat_labels(len(everyone)))
        devil = devils_place(len(proposers)) if protocol.devils_advocate else None
        self.all: list[Seat] = []
        seen = 0
        for number, agent in enumerate(everyone):
            is_devil = agent.role == "proposer" and seen == devil
            seen += agent.role == "proposer"
            stance = DEVILS_STANCE if is_devil else ""
            self.all.append(Seat(number, next(labels), agent, stance))
        self._ring = protocol.topology == "ring"
        self.proposers = [s for s in self.all if s.agent.role == "proposer"]
        self.critics = [s for s in self.all if s.agent.role == "critic"]
        self.judge = next((s for s in self.all if s.agent.role == "judge"), None)

    def by_label(self, label: str | None) -> Seat | None:
        """The seat of a letter."""
        return next((s for s in self.all if s.label == label), None)

    def visible(self, seat: Seat) -> list[Seat]:
        """The proposers that a seat sees, itself left out."""
        others = [s for s in self.proposers if s.number != seat.number]
        if not self._ring or seat not in self.proposers or len(others) < 3:
            return others
        place, size = self.proposers.index(seat), len(self.proposers)
        near = {self.proposers[(place + step) % size].number for step in (-1, 1)}
        return [s for s in others if s.number in near]


def devils_place(proposers: int) -> int | None:
    """Which of so many proposers is the devil's advocate: the last of several."""
    return proposers - 1 if proposers > 1 else None


def _flat(agents: Iterable[Any]) -> list[Agent]:
    out: list[Agent] = []
    for agent in agents:
        if isinstance(agent, list | tuple):
            out.extend(_flat(cast(Sequence[Any], agent)))
        else:
            out.append(agent)
    return out


def seat_labels(count: int) -> list[str]:
    """Letters of seats in order; P1, P2 and so on beyond the alphabet."""
    if count <= len(ascii_uppercase):
        return list(ascii_uppercase[:count])
    return [f"P{n + 1}" for n in range(count)]
