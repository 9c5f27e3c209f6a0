"""What should have been answered: from people first, then from agreement that can be checked.

For each weak interaction, in this order:

1. `edit`: the answer that somebody who knows wrote;
2. `correction`: a remark that names one of the allowed answers, in its own words or in the words
   that users have for it; where answers are free texts, the remark itself;
3. `teacher`: a stronger model's answers, when enough of them agree;
4. `majority`: the current adapter's own samples, from what was asked and from the remark, when
   enough of them agree.

Whatever was rejected is never the better answer, and where answers are a closed set nothing else
counts. What stays open is for a person; nothing is made up for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tensafe.data.records import Message
from tensafe.evaluate.model import AnsweringModel
from tensafe.evaluate.normalise import normalised
from tensafe.improve.answer_set import AnswerSet
from tensafe.improve.interactions import Interaction
from tensafe.improve.scoring import Scored

How = Literal["edit", "correction", "teacher", "majority"]
_TEMPERATURE = 0.8
_ANSWER_TOKENS = 96
_CLOSED_TOKENS = 24

# A stronger model: its answer number so-and-so to a chat, None when it has nothing to say.
Teach = Callable[[Sequence[Message], int], str | None]
_TEACHER_VOTES = 3


@dataclass(frozen=True)
class Better:
    """A better answer, where it comes from, and the share of votes that agreed (1 for people)."""

    answer: str
    how: How
    agreement: float = 1.0


@dataclass(frozen=True)
class VoteRules:
    """How many samples are drawn, and which share of them makes an answer."""

    votes: int
    agreement: float
    seed: int = 0


def better_answers(
    weak: Sequence[Scored],
    allowed: AnswerSet,
    model: AnsweringModel,
    teach: Teach | None,
    rules: VoteRules,
) -> list[Better | None]:
    """One better answer per weak interaction, or None where there is none to be had."""
    found = [_from_people(one.interaction, allowed) for one in weak]
    if teach is not None:
        for place, one in enumerate(weak):
            if found[place] is None:
                asked = _for_teacher(one.interaction, allowed)
                said = [teach(asked, number) for number in range(_TEACHER_VOTES)]
                found[place] = _agreed(said, one, allowed, "teacher", rules.agreement)
    left = [place for place, better in enumerate(found) if better is None]
    for place, better in zip(
        left, _voted([weak[i] for i in left], allowed, model, rules), strict=True
    ):
        found[place] = better
    return found


def _from_people(one: Interaction, allowed: AnswerSet) -> Better | None:
    feedback = one.feedback
    if feedback.edit:
        return Better(allowed.exact(feedback.edit) or feedback.edit, "edit")
    if not feedback.correction:
        return None
    if not allowed:
        return Better(feedback.correction, "correction")
    meant = allowed.meant_by(feedback.correction, rejected=one.answer)
    return None if meant is None else Better(meant, "correction")


def _for_teacher(one: Interaction, allowed: AnswerSet) -> list[Message]:
    parts = ["An assistant's answer was not good. Give the answer that it should have given."]
    if allowed:
        listed = "\n".join(f"- {answer}" for answer in allowed.written.values())
        parts.append(f"Reply with exactly one of these and nothing else:\n{listed}")
    talk = "\n".join(f"{turn['role']}: {turn['content']}" for turn in one.prompt)
    parts.append(f"The conversation:\n{talk}\n\nThe answer that was not good: {one.answer}")
    if one.feedback.correction:
        parts.append(f"The user then said: {one.feedback.correction}")
    return [Message(role="user", content="\n\n".join(parts))]


def _voted(
    weak: Sequence[Scored], allowed: AnswerSet, model: AnsweringModel, rules: VoteRules
) -> list[Better | None]:
    turns_of: list[list[Sequence[Message]]] = []
    for one in weak:
        remark = one.interaction.feedback.correction
        turns: list[Sequence[Message]] = [one.interaction.prompt]
        if remark:
            turns.append([Message(role="user", content=remark)])
            both = f"{one.interaction.asked} {remark}"
            turns.append([*one.interaction.prompt[:-1], Message(role="user", content=both)])
        turns_of.append(turns)
    if not weak:
        return []
    ballots: list[list[str]] = [[] for _ in weak]
    for number in range(rules.votes):
        # A seed of its own for each vote: with the same one, a prompt gets the same answer again.
        answers = model.generate(
            [turns[number % len(turns)] for turns in turns_of],
            max_tokens=_CLOSED_TOKENS if allowed else _ANSWER_TOKENS,
            temperature=_TEMPERATURE,
            seed=rules.seed * rules.votes + number,
        )
        for ballot, answer in zip(ballots, answers, strict=True):
            ballot.append(answer)
    return [
        _agreed(ballot, one, allowed, "majority", rules.agreement)
        for ballot, one in zip(ballots, weak, strict=True)
    ]


def _agreed(
    ballot: Iterable[str | None], one: Scored, allowed: AnswerSet, how: How, agreement: float
) -> Better | None:
    """The answer that enough votes are for; votes for what was rejected count against it."""
    cast_votes = [vote for vote in ballot if vote is not None and vote.strip()]
    votes = Counter(normalised(vote) for vote in cast_votes)
    if not votes:
        return None
    key, count = max(votes.items(), key=lambda entry: (entry[1], entry[0]))
    share = count / len(cast_votes)
    is_rejected = one.verdict == "bad" and key == normalised(one.interaction.answer)
    if share < agreement or is_rejected or (allowed and key not in allowed.written):
        return None
    written = allowed.written.get(key)
    if written is None:
        written = next(vote.strip() for vote in cast_votes if normalised(vote) == key)
    return Better(written, how, share)
