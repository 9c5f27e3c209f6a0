"""The stages of one debate: propose, critique, revise, vote, judge. Each gives stored messages.

A turn that is known already (a resumed debate) is not asked again. Turns of one stage are taken at
the same time; what they see was said before the stage began, so their order can't matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from aragora.agents.reading import read_answer, read_critique
from aragora.agents.records import Ballot, Candidate, Context, Quote, Reply
from aragora.debate.asking import Asker, Turn
from aragora.debate.deciding import Position
from aragora.debate.events import EventKind
from aragora.debate.protocol import DebateProtocol
from aragora.debate.replay import told
from aragora.debate.seats import Seat, Seats
from aragora.memory.debates import DebateStore
from aragora.memory.identity import answer_key
from aragora.memory.records import Critique, Message, Phase, Vote

Tell = Callable[[EventKind, dict[str, object]], None]
Place = tuple[int, Phase, int, int]


def place_of(message: Message) -> Place:
    """What makes a turn the same turn."""
    return (message.round, message.phase, message.seat, message.target)


@dataclass
class Stages:
    """Takes turns of one debate and stores them; `known` holds what was said before."""

    debate_id: str
    question: str
    protocol: DebateProtocol
    seats: Seats
    asker: Asker
    store: DebateStore
    known: dict[Place, Message]
    tell: Tell

    async def propose(self) -> list[Message]:
        """Everyone's own answer; all see the task alone, so their prompts are the same."""
        return await asyncio.gather(
            *(
                self._answer(Turn(self.debate_id, 1, "propose", s.number), s, self._context(s))
                for s in self.seats.proposers
            )
        )

    async def critique(self, number: int, positions: Sequence[Position]) -> list[Message]:
        """Critics (without any: the proposers) on each proposal that they see."""
        by_seat = {p.seat: p for p in positions}
        turns: list[Awaitable[Message]] = []
        for critic in self.seats.critics or self.seats.proposers:
            for target in self.seats.visible(critic):
                position = by_seat.get(target.number)
                if position is not None:
                    turns.append(self._critique(number, critic, target, position))
        return list(await asyncio.gather(*turns))

    async def revise(
        self, number: int, positions: Sequence[Position], critiques: Sequence[Message]
    ) -> list[Message]:
        """Every proposer again, having seen its neighbours' answers and its own critiques."""
        by_seat = {p.seat: p for p in positions}
        turns: list[Awaitable[Message]] = []
        for seat in self.seats.proposers:
            quotes = [
                Quote(s.label, by_seat[s.number].final.text)
                for s in self.seats.visible(seat)
                if s.number in by_seat
            ]
            quotes += [
                Quote(self.seats.all[c.seat].label, c.text, "critique")
                for c in critiques
                if c.target == seat.number and c.is_usable
            ]
            own = by_seat[seat.number].final.text if seat.number in by_seat else ""
            context = self._context(seat, quotes=tuple(quotes), own=own)
            turn = Turn(self.debate_id, number, "revise", seat.number)
            turns.append(self._answer(turn, seat, context))
        return list(await asyncio.gather(*turns))

    async def vote(self, number: int, positions: Sequence[Position]) -> list[Vote]:
        """Votes of proposers (and critics, where the protocol lets them), stored."""
        voters = list(self.seats.proposers)
        if self.protocol.critics_vote:
            voters += self.seats.critics
        cast = await asyncio.gather(
            *(self._vote(number, "vote", voter, positions) for voter in voters)
        )
        votes = [vote for vote in cast if vote is not None]
        await asyncio.to_thread(self.store.add_votes, votes)
        return votes

    async def judge(self, number: int, positions: Sequence[Position]) -> Vote | None:
        """The judge's choice, stored as a vote of its own phase."""
        if self.seats.judge is None or not positions:
            return None
        vote = await self._vote(number, "judge", self.seats.judge, positions)
        if vote is not None:
            await asyncio.to_thread(self.store.add_votes, [vote])
        return vote

    async def _answer(self, turn: Turn, seat: Seat, context: Context) -> Message:
        def call(seed: int) -> Awaitable[Reply]:
            return seat.agent.respond(self.question, replace(context, seed=seed))

        return await self._take(turn, seat, call)

    async def _critique(
        self, number: int, critic: Seat, target: Seat, position: Position
    ) -> Message:
        turn = Turn(self.debate_id, number, "critique", critic.number, target.number)
        proposal = Quote(target.label, position.final.text)
        context = self._context(critic)

        def call(seed: int) -> Awaitable[Reply]:
            return critic.agent.critique(self.question, proposal, replace(context, seed=seed))

        return await self._take(turn, critic, call)

    async def _vote(
        self, number: int, phase: Phase, voter: Seat, positions: Sequence[Position]
    ) -> Vote | None:
        allowed = [p for p in positions if self.protocol.self_votes or p.seat != voter.number]
        if not allowed:
            return None
        candidates = [
            Candidate(self.seats.all[p.seat].label, p.final.answer or "", p.final.text)
            for p in allowed
        ]
        turn = Turn(self.debate_id, number, phase, voter.number)
        context = self._context(voter)

        def call(seed: int) -> Awaitable[Ballot]:
            return voter.agent.vote(self.question, candidates, replace(context, seed=seed))

        message = await self._take(turn, voter, call)
        return self._read_vote(message, {c.label for c in candidates})

    def _read_vote(self, message: Message, labels: set[str]) -> Vote:
        invalid: str | None = None
        chosen = self.seats.by_label(message.answer)
        if not message.is_usable:
            invalid = message.status
        elif chosen is not None and chosen.number == message.seat and message.answer not in labels:
            invalid = "voted for itself"
        elif chosen is None or message.answer not in labels:
            invalid = "no candidate by that letter"
        confidence = message.confidence if invalid is None else None
        return Vote(
            message.id,
            self.debate_id,
            message.round,
            message.seat,
            chosen.number if chosen is not None and invalid is None else None,
            confidence,
            invalid,
        )

    async def _take(
        self, turn: Turn, seat: Seat, call: Callable[[int], Awaitable[Reply | Ballot]]
    ) -> Message:
        known = self.known.get((turn.round, turn.phase, turn.seat, turn.target))
        if known is not None:
            return known
        self.tell("asked", {"seat": turn.seat, "phase": turn.phase, "agent": seat.agent.name})
        asked = await self.asker.ask(turn, call)
        message = _with_reading(asked.message, asked.ballot)
        message = await asyncio.to_thread(self.store.add_message, message)
        labels = [s.label for s in self.seats.all]
        kind: EventKind = "said" if message.is_usable else "failed"
        self.tell(kind, told(message, seat.agent.name, labels))
        return message

    def _context(self, seat: Seat, *, quotes: tuple[Quote, ...] = (), own: str = "") -> Context:
        return Context(
            quotes=quotes,
            own=own,
            stance=seat.stance,
            temperature=self.protocol.temperature,
            max_tokens=self.protocol.max_tokens,
        )


def positions_of(messages: Sequence[Message]) -> list[Position]:
    """Each proposer's first and last usable answer, by seat."""
    found: dict[int, Position] = {}
    for message in sorted(messages, key=lambda m: (m.round, m.phase != "propose", m.id)):
        if message.phase not in ("propose", "revise") or message.answer is None:
            continue
        known = found.get(message.seat)
        found[message.seat] = Position(message.seat, known.first if known else message, message)
    return [found[seat] for seat in sorted(found)]


def critiques_of(messages: Sequence[Message]) -> list[Critique]:
    """Usable critiques with what their target had said before and said next."""
    answers = [m for m in messages if m.phase in ("propose", "revise") and m.answer is not None]
    answers.sort(key=lambda m: (m.round, m.phase != "propose", m.id))
    out: list[Critique] = []
    for message in messages:
        if message.phase != "critique" or not message.is_usable:
            continue
        of_target = [a for a in answers if a.seat == message.target]
        before = [a for a in of_target if a.round < message.round or a.phase == "propose"]
        after = [a for a in of_target if a.phase == "revise" and a.round == message.round]
        if not before:
            continue
        issue, suggestion = read_critique(message.text)
        out.append(
            Critique(
                message.id,
                message.debate_id,
                message.seat,
                message.target,
                before[-1].id,
                after[0].id if after else None,
                issue,
                suggestion,
            )
        )
    return out


def _with_reading(message: Message, ballot: Ballot | None) -> Message:
    if not message.is_usable:
        return message
    if ballot is not None:
        confidence = ballot.confidence
        if confidence is not None and not 0.0 <= confidence <= 1.0:
            confidence = None
        return replace(
            message,
            answer=ballot.choice,
            confidence=confidence,
            confidence_source=ballot.source if confidence is not None else None,
        )
    if message.phase in ("propose", "revise"):
        answer = read_answer(message.text)
        key = None if answer is None else answer_key(answer)
        return replace(message, answer=answer, answer_key=key)
    return message
