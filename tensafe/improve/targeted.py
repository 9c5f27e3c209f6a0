"""From scored interactions to the records of the next version: what is new, and what is replayed.

Every decision about a record looks at that record alone (its verdict, its better answer, the hash
of its content), because a private run's accounting holds for records that come or go one at a
time. Which side of the split a record is on depends on its prompt's hash and never changes, so
that what was held out once is never trained on by a later version.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tensafe.curate.pii import redact
from tensafe.data.records import Example, Message
from tensafe.evaluate.normalise import normalised
from tensafe.improve.better_answers import Better
from tensafe.improve.interactions import Interaction
from tensafe.improve.scoring import Scored

SOURCE = "interactions"
# Mean token probability from which an answer that nobody judged is the adapter's own for replay.
SURE = 0.9


@dataclass(frozen=True)
class Targeted:
    """New records by side, how their answers were found, and what stays open.

    Both sides hold mended and confirmed answers (those that people called good): mended ones alone
    would teach that what is usual is wrong, and as a test they would flatter any other version,
    having been chosen because the old one fails on them. `own` are answers that nobody judged and
    the current adapter is sure of; answers are replayed from them.
    """

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    own: tuple[Example, ...]
    confirmed: int
    how: dict[str, int]
    unresolved: tuple[Interaction, ...]
    contradictory: int


def build_targeted(
    scored: Sequence[Scored],
    better: Sequence[Better | None],
    *,
    test_share: float,
    redact_pii: bool,
    held_out: Iterable[Example] = (),
) -> Targeted:
    """Records from the weak interactions with their better answers (in order), and the good ones.

    `held_out` is the old test set: a prompt of it is never trained on.
    """
    weak = [one.interaction for one in scored if one.is_weak]
    good = [one.interaction for one in scored if one.verdict == "good"]
    unresolved = tuple(one for one, found in zip(weak, better, strict=True) if found is None)
    how = Counter(found.how for found in better if found is not None)
    mended = [
        _example(one, found.answer, redact_pii=redact_pii)
        for one, found in zip(weak, better, strict=True)
        if found is not None
    ]
    praised = [_example(one, one.answer, redact_pii=redact_pii) for one in good]
    known = {prompt_key(example) for example in held_out}
    kept, contradictory = _without_contradictions([*mended, *praised])
    chosen = [example for example in kept if prompt_key(example) not in known]
    wanted = {example.digest for example in mended}
    taken = known | {prompt_key(example) for example in kept}
    sure = [
        _example(one.interaction, one.interaction.answer, redact_pii=redact_pii)
        for one in scored
        if one.verdict == "unrated" and (one.confidence or 0.0) >= SURE
    ]
    return Targeted(
        train=tuple(example for example in chosen if not is_held_out(example, test_share)),
        test=tuple(example for example in chosen if is_held_out(example, test_share)),
        own=tuple(
            e
            for e in _unique(sure)
            if prompt_key(e) not in taken and not is_held_out(e, test_share)
        ),
        confirmed=sum(example.digest not in wanted for example in chosen),
        how=dict(how),
        unresolved=unresolved,
        contradictory=contradictory,
    )


def replayed(pool: Sequence[Example], new: int, share: float) -> tuple[Example, ...]:
    """About as many of a pool as make `share` of a mix with `new` others, drawn by their hash."""
    wanted = round(new * share / (1.0 - share))
    if not pool:
        return ()
    # A threshold, not the first so many of a ranking: one record's draw is no other's.
    limit = min(1.0, wanted / len(pool)) * 16**8
    return tuple(e for e in pool if int(_draw(e)[:8], 16) < limit)


def is_held_out(example: Example, share: float) -> bool:
    """Whether a new record belongs to the test side, now and in every later version."""
    return int(prompt_key(example)[:8], 16) < share * 16**8


def prompt_key(example: Example) -> str:
    """Hex SHA-256 of what is asked, without case and punctuation."""
    asked = [(turn["role"], normalised(turn["content"])) for turn in example.prompt]
    return hashlib.sha256(json.dumps(asked).encode("utf-8")).hexdigest()


def _unique(examples: Iterable[Example]) -> list[Example]:
    found = {prompt_key(example): example for example in examples}
    return sorted(found.values(), key=lambda e: e.digest)


def _draw(example: Example) -> str:
    return hashlib.sha256(f"replay {example.digest}".encode()).hexdigest()


def _example(one: Interaction, answer: str, *, redact_pii: bool) -> Example:
    def text(content: str) -> str:
        return redact(content).text if redact_pii else content

    turns = tuple(Message(role=t["role"], content=text(t["content"])) for t in one.prompt)
    messages = (*turns, Message(role="assistant", content=text(answer)))
    kind = "qa" if len(messages) == 2 else "chat"
    return Example(messages, SOURCE, one.id, one.id, kind)


def _without_contradictions(examples: Sequence[Example]) -> tuple[list[Example], int]:
    """One example per prompt; prompts with several answers are left out, and counted."""
    by_prompt: dict[str, dict[str, Example]] = {}
    for example in examples:
        answers = by_prompt.setdefault(prompt_key(example), {})
        answers.setdefault(normalised(example.reference), example)
    kept = [next(iter(a.values())) for a in by_prompt.values() if len(a) == 1]
    return sorted(kept, key=lambda e: e.digest), len(by_prompt) - len(kept)
