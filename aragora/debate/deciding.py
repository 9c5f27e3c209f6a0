"""From answers and votes to an outcome. Pure functions; every tie and every failure is told.

Seats with the same answer stand together: a vote for one is a vote for their answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aragora.debate.protocol import SHARES, DebateProtocol
from aragora.memory.records import Message, Outcome, Standing, Vote


@dataclass(frozen=True)
class Position:
    """A proposer's last usable answer, with the message that holds it."""

    seat: int
    first: Message
    final: Message

    @property
    def key(self) -> str:
        """The answer in normal form."""
        return self.final.answer_key or ""


@dataclass(frozen=True)
class Tally:
    """Weight behind each answer key; `share` is the leader's part of all that was counted."""

    support: Mapping[str, float]
    confidence: Mapping[str, float]
    leader: str | None
    share: float
    is_tied: bool


def agreement(positions: Sequence[Position]) -> float:
    """The largest share of seats with one answer; 0 without answers."""
    if not positions:
        return 0.0
    counts: dict[str, int] = {}
    for position in positions:
        counts[position.key] = counts.get(position.key, 0) + 1
    return max(counts.values()) / len(positions)


def tally(positions: Sequence[Position], votes: Sequence[Vote], *, by_answers: bool) -> Tally:
    """Count votes (or, by answers, each seat for its own answer).

    Ties in number go to the larger sum of confidence; what is equal in both stays tied, and the
    first seat's answer is named without being a consensus.
    """
    by_seat = {p.seat: p.key for p in positions}
    support: dict[str, float] = {p.key: 0.0 for p in positions}
    confidence: dict[str, float] = dict.fromkeys(support, 0.0)
    if by_answers:
        for position in positions:
            support[position.key] += 1.0
            confidence[position.key] += position.final.confidence or 0.0
    else:
        for vote in votes:
            if vote.choice_seat in by_seat:
                key = by_seat[vote.choice_seat]
                support[key] += 1.0
                confidence[key] += vote.confidence or 0.0
    total = sum(support.values())
    if total == 0.0:
        return Tally(support, confidence, None, 0.0, False)
    ranked = sorted(support, key=lambda k: (-support[k], -confidence[k]))
    first, rest = ranked[0], ranked[1:]
    is_tied = any(support[k] == support[first] and confidence[k] == confidence[first] for k in rest)
    return Tally(support, confidence, first, support[first] / total, is_tied)


def decide(
    debate_id: str,
    protocol: DebateProtocol,
    positions: Sequence[Position],
    votes: Sequence[Vote],
    *,
    judged: Vote | None = None,
    scores: Mapping[int, float] | None = None,
    rounds: int,
    stopped: str,
) -> Outcome:
    """The outcome under the protocol's consensus.

    `judged` is the judge's vote, `scores` the verifier's score of each seat's final message.
    """
    counted = tally(positions, votes, by_answers=protocol.ballot == "answers")
    by_seat = {p.seat: p for p in positions}
    is_reached, decided_by, winner, confidence = False, "none", None, 0.0
    if protocol.consensus == "judge":
        decided_by = "judge"
        if judged is not None and judged.choice_seat in by_seat:
            winner, is_reached = by_seat[judged.choice_seat], True
            confidence = judged.confidence or 0.0
    elif protocol.consensus == "verifier":
        decided_by = "verifier"
        best = max(scores.values(), default=0.0) if scores else 0.0
        if scores and best > 0.0:
            winner = next(p for p in positions if scores.get(p.seat) == best)
            is_reached, confidence = True, best
    elif counted.leader is not None:
        decided_by = "answers" if protocol.ballot == "answers" else "votes"
        winner = next(p for p in positions if p.key == counted.leader)
        is_reached = _is_enough(protocol, counted)
        # The mean confidence of those behind the answer, weighted by how many they are.
        backers = counted.support[counted.leader]
        stated = counted.confidence[counted.leader] / backers
        confidence = counted.share * stated if stated > 0.0 else counted.share
    if winner is None and positions and protocol.consensus not in ("judge", "verifier"):
        # Nobody voted: the most frequent answer is named, and nothing more is claimed.
        leader = tally(positions, (), by_answers=True).leader
        winner = next(p for p in positions if p.key == leader)
    return Outcome(
        debate_id=debate_id,
        consensus=protocol.consensus,
        is_reached=is_reached,
        decided_by=decided_by,
        winner_seat=winner.seat if winner is not None and is_reached else None,
        answer=winner.final.answer if winner else None,
        answer_key=winner.key if winner else None,
        confidence=confidence,
        agreement=agreement(positions),
        rounds=rounds,
        stopped=stopped,
    )


def _is_enough(protocol: DebateProtocol, counted: Tally) -> bool:
    if counted.is_tied:
        return False
    if protocol.consensus == "majority":
        return counted.share > SHARES["majority"]
    needed = protocol.supermajority if protocol.consensus == "supermajority" else 1.0
    return counted.share >= needed - 1e-9


def standings(
    debate_id: str,
    seats: Sequence[int],
    positions: Sequence[Position],
    outcome: Outcome,
    scores: Mapping[int, float] | None,
) -> tuple[Standing, ...]:
    """Places of proposers: by the verifier where it decided, else with the answer or without.

    Who gave no usable answer comes last. Without a consensus nobody who answered beats another. An
    answer that a deciding verifier could not check has no place.
    """
    by_seat = {p.seat: p for p in positions}
    use_scores = outcome.decided_by == "verifier" and scores is not None
    value: dict[int, float] = {}
    for seat in seats:
        position = by_seat.get(seat)
        if position is None:
            value[seat] = -1.0
        elif use_scores and scores is not None:
            if seat in scores:
                value[seat] = scores[seat]
        elif not outcome.is_reached:
            value[seat] = 0.5
        else:
            value[seat] = float(position.key == outcome.answer_key)
    return tuple(
        Standing(
            debate_id=debate_id,
            seat=seat,
            place=1 + sum(v > value[seat] for v in value.values()),
            score=max(0.0, value[seat]),
            first_message_id=by_seat[seat].first.id if seat in by_seat else None,
            final_message_id=by_seat[seat].final.id if seat in by_seat else None,
        )
        for seat in value
    )
