"""A stored debate told again as the events it was, without asking anyone."""

from __future__ import annotations

from collections.abc import Iterator

from aragora.debate.events import DebateEvent, EventKind
from aragora.debate.seats import seat_labels
from aragora.memory.debates import StoredDebate
from aragora.memory.records import Message


def replay(stored: StoredDebate) -> Iterator[DebateEvent]:
    """Events with the times at which things were said."""
    number = 0

    def event(kind: EventKind, at: float, **data: object) -> DebateEvent:
        nonlocal number
        made = DebateEvent(kind, stored.debate.id, number, at, data)
        number += 1
        return made

    labels = seat_labels(len(stored.participants))
    agents = [
        {"label": labels[p.seat], "agent": p.agent, "role": p.role, "model": p.model}
        for p in stored.participants
    ]
    task = stored.task
    question = f"{task.context}\n\n{task.text}" if task.context else task.text
    yield event(
        "begun",
        stored.debate.started_at,
        task=question,
        protocol=stored.debate.protocol_name,
        agents=agents,
    )
    for message in sorted(stored.messages, key=lambda m: m.id):
        kind: EventKind = "said" if message.is_usable else "failed"
        at = message.started_at + message.latency_s
        yield event(kind, at, **told(message, stored.participants[message.seat].agent, labels))
    ended = stored.debate.ended_at or stored.debate.started_at
    if stored.outcome is not None:
        outcome = stored.outcome
        yield event(
            "outcome",
            ended,
            answer=outcome.answer,
            is_reached=outcome.is_reached,
            decided_by=outcome.decided_by,
            confidence=outcome.confidence,
            agreement=outcome.agreement,
            rounds=outcome.rounds,
            stopped=outcome.stopped,
        )
    yield event(
        "ended", ended, tokens=stored.debate.prompt_tokens + stored.debate.completion_tokens
    )


def told(message: Message, agent: str, labels: list[str]) -> dict[str, object]:
    """What an event says of one turn."""
    return {
        "seat": message.seat,
        "label": labels[message.seat],
        "agent": agent,
        "round": message.round,
        "phase": message.phase,
        "target": labels[message.target] if message.target >= 0 else None,
        "status": message.status,
        "error": message.error,
        "text": message.text,
        "answer": message.answer,
        "confidence": message.confidence,
        "tokens": message.completion_tokens,
    }
