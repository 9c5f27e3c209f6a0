"""Getting one turn out of an agent, whatever it does: deadlines, retries, limits, budgets.

Nothing an agent does raises out of here. A turn that failed on every attempt is a message whose
status and error say how. An agent that ignores its cancellation is left behind, not waited for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aragora.agents.quoting import stored
from aragora.agents.records import Ballot, Reply
from aragora.debate.protocol import DebateProtocol
from aragora.memory.identity import digest_of
from aragora.memory.records import Message, Phase, Status

logger = logging.getLogger(__name__)

_SEED_SPACE = 2**31 - 1
_MAX_ERROR_CHARS = 500
_RETRIED: frozenset[Status] = frozenset({"timeout", "crashed", "empty", "unreadable"})


@dataclass(frozen=True)
class Turn:
    """Whose turn it is and what for."""

    debate_id: str
    round: int
    phase: Phase
    seat: int
    target: int = -1


@dataclass
class Spent:
    """Tokens and money of one debate so far."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, message: Message) -> None:
        """Count a turn."""
        self.prompt_tokens += message.prompt_tokens
        self.completion_tokens += message.completion_tokens
        self.cost_usd += message.cost_usd

    def refusal(self, protocol: DebateProtocol) -> str | None:
        """Why no further turn may be taken, None while there is budget."""
        tokens = self.prompt_tokens + self.completion_tokens
        if protocol.token_budget is not None and tokens >= protocol.token_budget:
            return f"token budget {protocol.token_budget} is spent ({tokens})"
        budget = protocol.cost_budget_usd
        if budget is not None and self.cost_usd >= budget:
            return f"cost budget {budget} USD is spent ({self.cost_usd:.4f})"
        return None


@dataclass
class Asked:
    """A turn's message, and the ballot where one was asked for."""

    message: Message
    ballot: Ballot | None = None


@dataclass
class _Try:
    status: Status
    error: str | None = None
    reply: Reply | None = None
    ballot: Ballot | None = None


@dataclass
class Asker:
    """Asks turns of one debate under its protocol."""

    protocol: DebateProtocol
    seed: int
    spent: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.protocol.concurrency)

    def turn_seed(self, turn: Turn, attempt: int) -> int:
        """The seed of one attempt: a function of the debate's seed and the turn alone."""
        place = [self.seed, turn.round, turn.phase, turn.seat, turn.target, attempt]
        return int(digest_of(place)[:12], 16) % _SEED_SPACE

    async def ask(self, turn: Turn, call: Callable[[int], Awaitable[Reply | Ballot]]) -> Asked:
        """One turn; `call` makes the agent's coroutine for a seed."""
        started = time.time()
        clock = time.monotonic()
        errors: list[str] = []
        last = _Try("over_budget", self.spent.refusal(self.protocol))
        attempts, seed = 0, self.turn_seed(turn, 0)
        lost = Spent()
        async with self._slots:
            while attempts <= self.protocol.retries:
                refusal = self.spent.refusal(self.protocol)
                if refusal is not None:
                    last = _Try("over_budget", refusal)
                    break
                seed = self.turn_seed(turn, attempts)
                attempts += 1
                last = await self._attempt(call, seed)
                if last.status not in _RETRIED:
                    break
                if attempts <= self.protocol.retries and last.reply is not None:
                    lost.prompt_tokens += last.reply.prompt_tokens
                    lost.completion_tokens += last.reply.completion_tokens
                errors.append(f"attempt {attempts}: {last.error}")
        if last.error is not None and last.status not in _RETRIED:
            errors.append(last.error)
        message = _message(
            turn,
            last,
            attempts=attempts,
            error="; ".join(errors) or None,
            seed=seed,
            started=started,
            latency=time.monotonic() - clock,
            protocol=self.protocol,
            lost=lost,
        )
        self.spent.add(message)
        return Asked(message, last.ballot)

    async def _attempt(self, call: Callable[[int], Awaitable[Reply | Ballot]], seed: int) -> _Try:
        async def run() -> Reply | Ballot:
            return await call(seed)

        task = asyncio.create_task(run())
        try:
            done, _ = await asyncio.wait({task}, timeout=self.protocol.deadline_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            task.add_done_callback(_ignore)
            return _Try("timeout", f"no answer within {self.protocol.deadline_s:g} s")
        if task.cancelled():
            return _Try("crashed", "the agent cancelled its own turn")
        error = task.exception()
        if error is not None:
            logger.warning("an agent failed", exc_info=error)
            return _Try("crashed", f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS])
        return _checked(task.result(), self.protocol.max_chars)


def _ignore(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _checked(value: object, max_chars: int) -> _Try:
    ballot = value if isinstance(value, Ballot) else None
    reply = ballot.reply if ballot is not None else value
    if not isinstance(reply, Reply) or not isinstance(reply.text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        return _Try("crashed", f"gave {type(value).__name__} instead of a Reply or a Ballot")
    if not reply.text.strip():
        return _Try("empty", "gave no text", reply, ballot)
    if ballot is not None and ballot.choice is None:
        shown = stored(reply.text[:80])
        return _Try("unreadable", f"no vote can be read from {shown!r}", reply, ballot)
    if len(reply.text) > max_chars:
        note = f"{len(reply.text)} characters, cut at {max_chars}"
        return _Try("cut", note, reply, ballot)
    return _Try("ok", None, reply, ballot)


def _message(
    turn: Turn,
    last: _Try,
    *,
    attempts: int,
    error: str | None,
    seed: int,
    started: float,
    latency: float,
    protocol: DebateProtocol,
    lost: Spent,
) -> Message:
    reply = last.reply or Reply("")
    prompt = [dict(m) for m in reply.prompt]
    prompt = [{k: stored(str(v)) for k, v in m.items()} for m in prompt]
    identity = reply.identity
    return Message(
        debate_id=turn.debate_id,
        round=turn.round,
        phase=turn.phase,
        seat=turn.seat,
        target=turn.target,
        status=last.status,
        attempts=attempts,
        text=stored(reply.text[: protocol.max_chars]),
        text_chars=len(reply.text),
        error=None if error is None else stored(error),
        seed=seed,
        started_at=started,
        latency_s=latency,
        prompt=prompt,
        prompt_digest=digest_of(prompt),
        prompt_tokens=reply.prompt_tokens + lost.prompt_tokens,
        completion_tokens=reply.completion_tokens + lost.completion_tokens,
        stop_reason=reply.stop_reason,
        cost_usd=reply.cost_usd,
        model=identity.model if identity else "",
        adapter_digest=identity.adapter_digest if identity else None,
        temperature=reply.temperature,
        max_tokens=protocol.max_tokens,
        neutralised=reply.neutralised,
    )
