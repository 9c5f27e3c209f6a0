"""One stored debate as exporters look at it: who said what, to which prompt, and who decided."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from aragora.debate.seats import devils_place
from aragora.memory import StoredDebate
from aragora.memory.records import Critique, Message, Participant, Vote
from aragora.training.exporters.rows import Candidate, Chat, Text


class Debated:
    """A debate with its whole texts by id, in the order of turns, and its seats by number.

    Agents answer at the same time; rows must not depend on who was the fastest. A text that ends
    where a limit cut it off teaches to stop there: `truncated` counts those.
    """

    def __init__(self, stored: StoredDebate) -> None:
        self.stored = stored
        self._usable = sorted((m for m in stored.messages if m.is_usable), key=lambda m: m.turn)
        self.messages: dict[int, Message] = {m.id: m for m in self._usable if m.is_whole}
        self.truncated = len(self._usable) - len(self.messages)
        self.seats: dict[int, Participant] = {p.seat: p for p in stored.participants}

    @cached_property
    def proposals(self) -> list[Message]:
        """First answers, before anyone had seen another's."""
        return [m for m in self.messages.values() if m.phase == "propose" and m.answer is not None]

    @property
    def without_stance(self) -> list[Message]:
        """First answers (also ones that were cut off) of seats that had no stance."""
        protocol = self.stored.debate.protocol
        seats = sorted(p.seat for p in self.seats.values() if p.role == "proposer")
        devil = devils_place(len(seats)) if protocol.get("devils_advocate") else None
        stance = None if devil is None else seats[devil]
        return [
            m
            for m in self._usable
            if (m.phase, m.round) == ("propose", 1) and m.answer is not None and m.seat != stance
        ]

    @property
    def critiques(self) -> list[tuple[Critique, Message | None]]:
        """Critiques with what was said, those without a whole text first."""
        pairs = [(c, self.messages.get(c.message_id)) for c in self.stored.critiques]
        return sorted(pairs, key=lambda pair: pair[1].turn if pair[1] else ())

    @property
    def votes(self) -> list[tuple[Vote, Message]]:
        """Votes whose text is whole."""
        by_message = {vote.message_id: vote for vote in self.stored.votes}
        return [(by_message[i], m) for i, m in self.messages.items() if i in by_message]

    @property
    def has_key(self) -> bool:
        """Whether a verifier that knows the answers looked at this debate."""
        return any(verdict.uses_key for verdict in self.stored.verdicts)

    @property
    def is_decided_by_key(self) -> bool:
        """Whether the outcome comes from such a verifier."""
        outcome = self.stored.outcome
        return outcome is not None and outcome.decided_by == "verifier" and self.has_key

    @cached_property
    def scores(self) -> dict[int, float] | None:
        """What each message got from the verifier that decided; None where none without a key did.

        A message that could not be checked has no score.
        """
        outcome = self.stored.outcome
        if outcome is None or outcome.decided_by != "verifier" or self.has_key:
            return None
        return {v.message_id: v.score for v in reversed(self.stored.verdicts)}

    def prompt_of(self, message: Message) -> Chat:
        """The prompt a message answered; the bare task where an agent doesn't tell its prompts."""
        if message.prompt:
            turns: list[dict[str, Any]] = message.prompt
            return [{"role": str(t["role"]), "content": str(t["content"])} for t in turns]
        task = self.stored.task
        question = f"{task.context}\n\n{task.text}" if task.context else task.text
        return [{"role": "user", "content": question}]

    def text(self, part: str, message: Message) -> Text:
        """A message in its role in a row."""
        seat = self.seats.get(message.seat)
        return Text(
            part,
            message.text,
            "message",
            str(message.id),
            message.debate_id,
            None if seat is None else seat.agent,
            message.adapter_digest,
        )

    def candidate(
        self,
        source: str,
        prompt: Chat,
        texts: tuple[Text, ...],
        *,
        elo_difference: float | None = None,
    ) -> Candidate:
        """A candidate with this debate's facts."""
        debate, task, outcome = self.stored.debate, self.stored.task, self.stored.outcome
        return Candidate(
            source=source,
            domain=debate.domain,
            prompt=prompt,
            texts=texts,
            asked=task.text,
            debate_id=debate.id,
            task_id=task.id,
            confidence=None if outcome is None else outcome.confidence,
            elo_difference=elo_difference,
            at=debate.started_at,
        )
