"""A debate from task to outcome: stored turn by turn, told as events, resumable.

    arena = Arena(Environment("Which is dearer, $5 or $7?"), agents, load_protocol("debate"))
    result = await arena.run()

One agent's failure is a line of the transcript. Only what makes the debate itself impossible (a
store that can't be written, a setting that contradicts itself) raises.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from aragora.debate.asking import Asker, Spent
from aragora.debate.closing import close_debate, require_clean_split
from aragora.debate.deciding import Position, agreement
from aragora.debate.environment import Environment, Verifier
from aragora.debate.events import DebateEvent, EventKind
from aragora.debate.protocol import DebateProtocol
from aragora.debate.seats import Seats
from aragora.debate.stages import Stages, critiques_of, place_of, positions_of
from aragora.errors import AragoraError, DebateError
from aragora.memory.debates import StoredDebate
from aragora.memory.identity import make_task, new_id
from aragora.memory.records import Debate, Message, Outcome, Participant, Round, Vote
from aragora.memory.store import Memory

_SEED_BITS = 31


@dataclass(frozen=True)
class DebateResult:
    """A finished debate; `stored` is everything that was said."""

    debate_id: str
    outcome: Outcome
    stored: StoredDebate

    @property
    def answer(self) -> str | None:
        """The answer, also when no consensus was reached (`outcome.is_reached`)."""
        return self.outcome.answer


class Arena:
    """One debate.

    Args:
        env: what is debated.
        agents: who takes part; lists inside the list are opened up.
        protocol: how it goes; the default is two rounds of critique and revision, then a vote.
        memory: where it is stored; the default database without one.
        seed: of all turns; random without one. The same seed, agents and models say the same.
        is_rated: whether the outcome moves ratings.
    """

    def __init__(
        self,
        env: Environment,
        agents: Iterable[Any],
        protocol: DebateProtocol | None = None,
        *,
        memory: Memory | None = None,
        seed: int | None = None,
        is_rated: bool = True,
    ) -> None:
        self.env = env
        self.protocol = protocol or DebateProtocol()
        require_clean_split(env, self.protocol)
        self._seats = Seats(agents, self.protocol)
        self._memory = memory
        self._seed = secrets.randbits(_SEED_BITS) if seed is None else seed
        self._is_rated = is_rated
        self.debate_id = new_id()
        self._known: StoredDebate | None = None

    @classmethod
    def resume(
        cls,
        debate_id: str,
        agents: Iterable[Any],
        *,
        memory: Memory | None = None,
        verifier: Verifier | None = None,
        is_rated: bool = True,
    ) -> Arena:
        """An interrupted debate that goes on behind the last stored turn.

        Raises NoSuchRecordError, or DebateError when it is done or the agents aren't the same.
        """
        memory = memory or Memory.open()
        stored = memory.debates.get(debate_id)
        if stored.debate.state == "done":
            raise DebateError(f"debate {debate_id} is done; `aragora transcript` shows it")
        env = Environment(
            task=stored.task.text,
            context=stored.task.context,
            domain=stored.task.domain,
            source=stored.task.source,
            split=stored.debate.split,
            verifier=verifier,
            labels=stored.debate.labels,
        )
        protocol = DebateProtocol.model_validate(stored.debate.protocol)
        arena = cls(
            env, agents, protocol, memory=memory, seed=stored.debate.seed, is_rated=is_rated
        )
        had = [(p.agent, p.role) for p in stored.participants]
        have = [(s.agent.name, s.agent.role) for s in arena._seats.all]
        if had != have:
            raise DebateError(f"debate {debate_id} was begun by {had}, not {have}")
        arena.debate_id, arena._known = debate_id, stored
        return arena

    async def run(self) -> DebateResult:
        """The debate to its end; nobody has to listen to the events."""
        async for event in self.stream():
            del event
        memory = self._open()
        stored = await asyncio.to_thread(memory.debates.get, self.debate_id)
        if stored.outcome is None:
            raise DebateError(f"debate {self.debate_id} ended without an outcome")
        return DebateResult(self.debate_id, stored.outcome, stored)

    async def stream(self) -> AsyncIterator[DebateEvent]:
        """The debate as events; leaving the loop stops it where it is, to be resumed."""
        events: asyncio.Queue[DebateEvent | None] = asyncio.Queue()
        count = 0

        def tell(kind: EventKind, data: dict[str, object]) -> None:
            nonlocal count
            events.put_nowait(DebateEvent(kind, self.debate_id, count, time.time(), data))
            count += 1

        async def work() -> None:
            try:
                await self._debate(tell)
            finally:
                events.put_nowait(None)

        task = asyncio.create_task(work())
        try:
            while (event := await events.get()) is not None:
                yield event
            await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _open(self) -> Memory:
        if self._memory is None:
            self._memory = Memory.open()
        return self._memory

    async def _debate(self, tell: Any) -> None:
        memory = await asyncio.to_thread(self._open)
        known = await self._begin(memory, tell)
        asker = Asker(self.protocol, self._seed)
        for message in known:
            asker.spent.add(message)
        stages = Stages(
            self.debate_id,
            self.env.question,
            self.protocol,
            self._seats,
            asker,
            memory.debates,
            {place_of(m): m for m in known},
            tell,
        )
        try:
            said, votes, judged, rounds, stopped = await self._take_turns(stages, memory, tell)
            await close_debate(
                memory,
                self.env,
                self.protocol,
                self._seats,
                self.debate_id,
                said=said,
                votes=votes,
                judged=judged,
                rounds=rounds,
                stopped=stopped,
                spent=asker.spent,
                is_rated=self._is_rated,
                tell=tell,
            )
        except AragoraError as error:
            await asyncio.to_thread(memory.debates.fail, self.debate_id, str(error), time.time())
            raise
        tell("ended", {"tokens": asker.spent.prompt_tokens + asker.spent.completion_tokens})

    async def _begin(self, memory: Memory, tell: Any) -> tuple[Message, ...]:
        if self._known is not None:
            await asyncio.to_thread(memory.debates.reopen, self.debate_id)
            tell("resumed", {"turns": len(self._known.messages)})
            return self._known.messages
        task = make_task(
            self.env.task,
            context=self.env.context,
            domain=self.env.domain,
            source=self.env.source,
        )
        debate = Debate(
            id=self.debate_id,
            task_id=task.id,
            domain=self.env.domain,
            split=self.env.split,
            protocol_name=self.protocol.name,
            protocol_digest=self.protocol.digest,
            protocol=self.protocol.model_dump(),
            seed=self._seed,
            state="running",
            started_at=time.time(),
            labels=self.env.labels,
        )
        seats = await asyncio.to_thread(self._participants, memory)
        await asyncio.to_thread(memory.debates.begin, task, debate, seats, self.env.subjects)
        tell(
            "begun",
            {
                "task": self.env.question,
                "protocol": self.protocol.name,
                "agents": [
                    {"label": s.label, "agent": p.agent, "role": p.role, "model": p.model}
                    for s, p in zip(self._seats.all, seats, strict=True)
                ],
            },
        )
        return ()

    def _participants(self, memory: Memory) -> list[Participant]:
        out: list[Participant] = []
        for seat in self._seats.all:
            name = seat.agent.name
            identity = seat.agent.identity()
            overall = memory.standings.rating(name, "", "elo")
            local = memory.standings.rating(name, self.env.domain, "elo")
            out.append(
                Participant(
                    debate_id=self.debate_id,
                    seat=seat.number,
                    agent=name,
                    kind=identity.kind,
                    role=seat.agent.role,
                    model=identity.model,
                    base_digest=identity.base_digest,
                    adapter=identity.adapter,
                    adapter_digest=identity.adapter_digest,
                    elo_before=overall.value if overall else None,
                    domain_elo_before=local.value if local else None,
                )
            )
        return out

    async def _take_turns(
        self, stages: Stages, memory: Memory, tell: Any
    ) -> tuple[list[Message], list[Vote], Vote | None, int, str]:
        said = list(await stages.propose())
        positions = positions_of(said)
        number, stopped = 0, "rounds"
        for number in range(1, self.protocol.rounds + 1):
            stopped = self._why_stop(positions, stages.asker.spent) or "rounds"
            if stopped != "rounds" or not (self.protocol.critique or self.protocol.revise):
                number -= 1
                break
            tell("round", {"round": number})
            began = time.time()
            critiques = await stages.critique(number, positions) if self.protocol.critique else []
            said += critiques
            if self.protocol.revise:
                said += await stages.revise(number, positions, critiques)
                positions = positions_of(said)
            await self._close_round(memory, number, positions, began, tell)
        await asyncio.to_thread(memory.debates.add_critiques, critiques_of(said))
        last = max(1, number)
        votes: list[Vote] = []
        judged: Vote | None = None
        if positions and self.protocol.ballot == "votes":
            if self.protocol.consensus == "judge":
                judged = await stages.judge(last, positions)
            votes = await stages.vote(last, positions)
        return said, votes, judged, number, stopped

    def _why_stop(self, positions: list[Position], spent: Spent) -> str | None:
        if not positions:
            return "no_answers"
        if spent.refusal(self.protocol) is not None:
            return "budget"
        wanted = self.protocol.stop_when_agreed
        everyone = len(positions) == len(self._seats.proposers)
        if wanted > 0.0 and len(positions) > 1 and everyone and agreement(positions) >= wanted:
            return "agreed"
        return None

    async def _close_round(
        self, memory: Memory, number: int, positions: list[Position], began: float, tell: Any
    ) -> None:
        answers: dict[str, Any] = {}
        for position in positions:
            answers[position.key] = answers.get(position.key, 0) + 1
        share = agreement(positions)
        row = Round(self.debate_id, number, answers, share, began, time.time())
        await asyncio.to_thread(memory.debates.add_round, row)
        tell("agreement", {"round": number, "agreement": share, "answers": answers})
