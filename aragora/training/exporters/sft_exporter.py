"""SFT rows: answers that won, critiques that led to something better, patterns, experts' answers.

The prompt of an answer is the one that proposers saw before anyone had spoken, and the answer is
what the debate came to: a model that learns it answers at once what took a debate. A critique
stands with the prompt that its critic really saw; a pattern counts as often as debates used it that
the options let in. Nothing that an answer key decided is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from aragora.memory import DebateFilter, Memory, StoredDebate
from aragora.memory.records import Message, Outcome, Pattern, Standing
from aragora.training.exporters.base import Exporter, Group, narrowing, read_debates
from aragora.training.exporters.options import SFTOptions
from aragora.training.exporters.rows import Candidate, Chat, Tally, Text
from aragora.training.exporters.said import Debated

_PATTERN_PROMPT = "An answer has this flaw: {issue}\nWhat would mend it?"
# Of a limited export; the most successful patterns come first.
_PATTERN_SHARE = 5
_LISTED_USES = 100


class SFTExporter(Exporter[SFTOptions]):
    """Rows for supervised fine-tuning; see `SFTOptions`."""

    kind: ClassVar[str] = "sft"
    options_type = SFTOptions

    def funnel(self, memory: Memory, options: SFTOptions) -> list[tuple[str, DebateFilter]]:
        steps = list(narrowing(options))
        wanted = replace(steps[-1][1], reached=True)
        steps.append(("with a consensus", wanted))
        confident = replace(wanted, min_confidence=options.min_confidence)
        steps.append((f"with confidence of {options.min_confidence:g} or more", confident))
        return steps

    def groups(self, memory: Memory, options: SFTOptions, tally: Tally) -> Iterator[Group]:
        if options.include_patterns and not options.after:
            yield from _patterns(memory, options, tally)
        if not (options.include_debates or options.include_critiques or options.include_experts):
            return
        wanted = list(narrowing(options))[-1][1]
        parts = {"participants", "messages", "standings", "outcome", "verdicts"}
        if options.include_critiques:
            parts.add("critiques")
        else:
            wanted = replace(wanted, reached=True, min_confidence=options.min_confidence)
        for stored in read_debates(memory, wanted, options, tally, parts):
            yield stored.debate.id, list(candidates_of(stored, options, tally))


def candidates_of(stored: StoredDebate, options: SFTOptions, tally: Tally) -> Iterator[Candidate]:
    """What one debate teaches."""
    debated = Debated(stored)
    tally.drop("a text that a limit cut off", debated.truncated)
    outcome = stored.outcome
    if options.include_debates or options.include_experts:
        if outcome is None or not outcome.is_reached:
            tally.drop("no consensus")
        elif outcome.confidence < options.min_confidence:
            tally.drop(f"confidence below {options.min_confidence:g}")
        elif debated.is_decided_by_key:
            tally.drop("decided by an answer key")
        else:
            yield from _answers(debated, options, tally)
    if options.include_critiques:
        yield from _critiques(debated, tally)


def _answers(debated: Debated, options: SFTOptions, tally: Tally) -> Iterator[Candidate]:
    stored, outcome = debated.stored, debated.stored.outcome
    assert outcome is not None
    prompt = _plain_prompt(debated)
    if prompt is None:
        tally.drop("no proposal's prompt is known")
        return
    for standing in stored.standings:
        said = debated.messages.get(standing.final_message_id or 0)
        if said is None or not _has_won(standing, said, outcome):
            continue
        seat = debated.seats[standing.seat]
        if standing.seat == outcome.winner_seat:
            if not options.include_debates:
                continue
            source = "debate"
        else:
            elo = seat.domain_elo_before
            if not options.include_experts or elo is None or elo < options.min_expert_elo:
                continue
            source = "expert"
        yield debated.candidate(source, prompt, (debated.text("completion", said),))


def _has_won(standing: Standing, said: Message, outcome: Outcome) -> bool:
    """Whether an answer is the debate's: in the first place, or the same in other words."""
    is_same = said.answer_key is not None and said.answer_key == outcome.answer_key
    return standing.place == 1 or is_same


def _plain_prompt(debated: Debated) -> Chat | None:
    """The prompt that most proposers saw: without anyone's stance."""
    proposals = debated.without_stance
    if not proposals:
        return None
    ((common, _),) = Counter(m.prompt_digest for m in proposals).most_common(1)
    return debated.prompt_of(next(m for m in proposals if m.prompt_digest == common))


def _critiques(debated: Debated, tally: Tally) -> Iterator[Candidate]:
    for critique, said in debated.critiques:
        if critique.improved is None:
            tally.drop("a critique whose effect is not known")
        elif not critique.improved:
            tally.drop("a critique that led to nothing better")
        elif critique.basis == "verifier" and debated.has_key:
            tally.drop("decided by an answer key")
        elif said is None or not said.prompt:
            tally.drop("a critique whose prompt is not known")
        else:
            text = debated.text("completion", said)
            yield debated.candidate("critique", debated.prompt_of(said), (text,))


def _patterns(memory: Memory, options: SFTOptions, tally: Tally) -> Iterator[Group]:
    wanted = list(narrowing(options))[-1][1]
    most = None if options.limit is None else options.limit // _PATTERN_SHARE
    made = 0
    for pattern in memory.standings.patterns_without_keys(wanted):
        if options.domains and pattern.domain not in options.domains:
            tally.drop("a pattern of another domain")
        elif not pattern.uses:
            tally.drop("a pattern that only other debates or an answer key know")
        elif pattern.uses < options.min_pattern_uses:
            tally.drop(f"a pattern with fewer than {options.min_pattern_uses} uses")
        elif pattern.successes < options.min_success_rate * pattern.uses:
            tally.drop(f"a pattern with success below {options.min_success_rate:g}")
        elif not pattern.suggestion.strip():
            tally.drop("a pattern without a suggestion")
        elif most is not None and made >= most:
            tally.drop("a pattern beyond its share of the limit")
        else:
            made += 1
            uses = memory.standings.debates_of_pattern(pattern.id, wanted, _LISTED_USES)
            yield "", [_of_pattern(pattern, tuple(uses))]


def _of_pattern(pattern: Pattern, uses: tuple[str, ...]) -> Candidate:
    asked = _PATTERN_PROMPT.format(issue=pattern.issue)
    text = Text("completion", pattern.suggestion, "pattern", pattern.id, None)
    return Candidate(
        source="pattern",
        domain=pattern.domain,
        prompt=[{"role": "user", "content": asked}],
        texts=(text,),
        asked=asked,
        confidence=pattern.successes / pattern.uses,
        at=pattern.last_at,
        uses=uses,
    )
