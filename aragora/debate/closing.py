"""The end of a debate: verdicts, outcome, what became of critiques, calibration, ratings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aragora.debate.asking import Spent
from aragora.debate.deciding import Position, decide, standings, tally
from aragora.debate.environment import Environment, Verifier
from aragora.debate.protocol import DebateProtocol
from aragora.debate.seats import Seats
from aragora.debate.stages import Tell, critiques_of, positions_of
from aragora.errors import DebateError
from aragora.memory.debates import Ending
from aragora.memory.records import Calibration, Critique, Message, Outcome, Verdict, Vote
from aragora.memory.store import Memory

logger = logging.getLogger(__name__)

RIGHT = 0.5


def require_clean_split(env: Environment, protocol: DebateProtocol) -> None:
    """Raise DebateError where an answer key would reach what is trained on, or is missing."""
    if protocol.consensus == "verifier" and env.verifier is None:
        raise DebateError("consensus by verifier needs an Environment with a verifier")
    if env.split == "train" and env.verifier is not None and env.verifier.uses_key:
        raise DebateError(
            f"verifier {env.verifier.name!r} knows the answers, and this debate is to be trained "
            "on (split='train'); leave it out, or debate with split='held_out'"
        )


async def close_debate(
    memory: Memory,
    env: Environment,
    protocol: DebateProtocol,
    seats: Seats,
    debate_id: str,
    *,
    said: Sequence[Message],
    votes: Sequence[Vote],
    judged: Vote | None,
    rounds: int,
    stopped: str,
    spent: Spent,
    is_rated: bool,
    tell: Tell,
) -> None:
    """Decide and store everything that follows from the end."""
    positions = positions_of(said)
    verdicts = await asyncio.to_thread(_verdicts, env.verifier, debate_id, said)
    by_message = {v.message_id: v.score for v in verdicts}
    scores = {p.seat: by_message[p.final.id] for p in positions if p.final.id in by_message}
    outcome = decide(
        debate_id,
        protocol,
        positions,
        votes,
        judged=judged,
        scores=scores or None,
        rounds=rounds,
        stopped=stopped,
    )
    places = standings(
        debate_id, [s.number for s in seats.proposers], positions, outcome, scores or None
    )
    ending = Ending(
        outcome,
        places,
        time.time(),
        spent.prompt_tokens,
        spent.completion_tokens,
        spent.cost_usd,
    )
    critiques = _judged(critiques_of(said), said, by_message, positions, votes, protocol)
    observed = _calibration(
        debate_id,
        env.domain,
        seats,
        said,
        positions,
        [*votes, *([judged] if judged else [])],
        outcome,
        scores,
    )

    def store() -> bool:
        memory.debates.add_verdicts(verdicts)
        for critique in critiques:
            memory.debates.judge_critique(critique)
            memory.standings.count_pattern(critique, env.domain, ending.ended_at)
        memory.standings.add_calibration(observed)
        memory.debates.finish(debate_id, ending)
        if not is_rated:
            return False
        from aragora.ranking.rating import rate_debate

        return rate_debate(memory, debate_id)

    has_moved = await asyncio.to_thread(store)
    tell("outcome", _told(outcome))
    if has_moved:
        tell("rated", {})


def _told(outcome: Outcome) -> dict[str, object]:
    return {
        "answer": outcome.answer,
        "is_reached": outcome.is_reached,
        "decided_by": outcome.decided_by,
        "confidence": outcome.confidence,
        "agreement": outcome.agreement,
        "rounds": outcome.rounds,
        "stopped": outcome.stopped,
    }


def _verdicts(verifier: Verifier | None, debate_id: str, said: Sequence[Message]) -> list[Verdict]:
    """A verdict for every proposal and revision; one that can't be had is left out and logged."""
    if verifier is None:
        return []
    out: list[Verdict] = []
    for message in said:
        if message.answer is None or message.phase not in ("propose", "revise"):
            continue
        try:
            score = float(verifier.score(message.answer))
        # A verifier is the user's own code; its failure is not the debate's.
        except Exception:
            logger.exception("verifier %s failed on message %d", verifier.name, message.id)
            continue
        if 0.0 <= score <= 1.0:
            out.append(
                Verdict(debate_id, message.id, verifier.name, score, verifier.uses_key, time.time())
            )
        else:
            logger.error("verifier %s gave %r, not a score in [0, 1]", verifier.name, score)
    return out


def _judged(
    critiques: Sequence[Critique],
    said: Sequence[Message],
    verdicts: Mapping[int, float],
    positions: Sequence[Position],
    votes: Sequence[Vote],
    protocol: DebateProtocol,
) -> list[Critique]:
    """Each critique with its target's score before and after.

    By the verifier where both were scored, else by the share of votes that each answer got.
    """
    counted = tally(positions, votes, by_answers=protocol.ballot == "answers")
    total = sum(counted.support.values())
    keys = {m.id: m.answer_key or "" for m in said}
    out: list[Critique] = []
    for critique in critiques:
        after = critique.after_message_id
        if after is None:
            out.append(critique)
            continue
        first, second = verdicts.get(critique.before_message_id), verdicts.get(after)
        basis = "verifier"
        if first is None or second is None:
            if total == 0.0:
                out.append(critique)
                continue
            basis = "votes"
            first = counted.support.get(keys[critique.before_message_id], 0.0) / total
            second = counted.support.get(keys[after], 0.0) / total
        out.append(
            replace(
                critique,
                score_before=first,
                score_after=second,
                basis=basis,
                improved=second > first,
            )
        )
    return out


def _calibration(
    debate_id: str,
    domain: str,
    seats: Seats,
    said: Sequence[Message],
    positions: Sequence[Position],
    votes: Sequence[Vote],
    outcome: Outcome,
    scores: Mapping[int, float],
) -> list[Calibration]:
    """What came true of each vote's confidence: by the verifier, and by the debate's outcome.

    Where the verifier decided, the outcome knows no more: answers may tie or not have been checked.
    """
    by_seat = {p.seat: p for p in positions}
    adapters = {m.seat: m.adapter_digest for m in said}
    out: list[Calibration] = []
    now = time.time()
    for vote in votes:
        if vote.choice_seat is None or vote.confidence is None:
            continue
        truths: list[tuple[str, bool]] = []
        if vote.choice_seat in scores:
            truths.append(("verifier", scores[vote.choice_seat] >= RIGHT))
        if outcome.is_reached and outcome.decided_by != "verifier":
            truths.append(("outcome", by_seat[vote.choice_seat].key == outcome.answer_key))
        for basis, is_right in truths:
            out.append(
                Calibration(
                    debate_id,
                    vote.message_id,
                    seats.all[vote.seat].agent.name,
                    adapters.get(vote.seat),
                    domain,
                    vote.confidence,
                    is_right,
                    basis,
                    now,
                )
            )
    return out
