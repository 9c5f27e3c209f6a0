"""DPO rows: two real answers to the same prompt, of which the debate showed one to be better.

Only first proposals of one debate with the very same prompt are paired. The debate judges answers:
the chosen proposal gives the answer that won, of a seat that ended in the first place; the rejected
one gives another, whoever gave it and even if its author came round later. Where a verifier
decided, its scores of the proposals themselves say which is better: none is rejected that got as
much as the chosen one, or that could not be checked. Ties, debates without consensus (but for
experts) and pairs that differ in length alone teach nothing and are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from aragora.memory import DebateFilter, Memory, StoredDebate
from aragora.memory.records import Message
from aragora.training.exporters.base import Exporter, Group, narrowing, read_debates
from aragora.training.exporters.contrast import lacks_contrast
from aragora.training.exporters.options import DPOOptions
from aragora.training.exporters.rows import Candidate, Tally
from aragora.training.exporters.said import Debated

_RIGHT = 0.5


class DPOExporter(Exporter[DPOOptions]):
    """Preference pairs; see `DPOOptions`."""

    kind: ClassVar[str] = "dpo"
    options_type = DPOOptions

    def funnel(self, memory: Memory, options: DPOOptions) -> list[tuple[str, DebateFilter]]:
        steps = list(narrowing(options))
        wanted = replace(steps[-1][1], reached=True)
        steps.append(("with a consensus", wanted))
        if options.min_confidence > 0.0:
            wanted = replace(wanted, min_confidence=options.min_confidence)
            steps.append((f"with confidence of {options.min_confidence:g} or more", wanted))
        return steps

    def groups(self, memory: Memory, options: DPOOptions, tally: Tally) -> Iterator[Group]:
        wanted = list(narrowing(options))[-1][1]
        parts = {"participants", "messages", "standings", "outcome", "verdicts"}
        if options.include_calibration:
            parts.add("votes")
        if options.min_confidence > 0.0:
            wanted = replace(wanted, min_confidence=options.min_confidence)
        for stored in read_debates(memory, wanted, options, tally, parts):
            yield stored.debate.id, list(candidates_of(stored, options, tally))


def candidates_of(stored: StoredDebate, options: DPOOptions, tally: Tally) -> Iterator[Candidate]:
    """The pairs that one debate gives."""
    debated = Debated(stored)
    tally.drop("a text that a limit cut off", debated.truncated)
    by_prompt = _by_prompt(debated)
    # Which expert "won" would be the key's word as well.
    if stored.outcome is not None and stored.outcome.is_reached and debated.is_decided_by_key:
        if options.include_head_to_head or options.include_domain_specific:
            tally.drop("decided by an answer key")
    else:
        if options.include_head_to_head:
            yield from _head_to_head(debated, by_prompt, options, tally)
        if options.include_domain_specific:
            yield from _experts(debated, by_prompt, options, tally)
    if options.include_calibration:
        yield from _calibrated(debated, options, tally)


def _by_prompt(debated: Debated) -> list[list[Message]]:
    """First proposals that answer the same prompt, where there are several."""
    grouped: dict[str, list[Message]] = defaultdict(list)
    for message in debated.proposals:
        grouped[message.prompt_digest].append(message)
    has_stances = bool(debated.stored.debate.protocol.get("devils_advocate"))
    # Without its prompt a message can't show that nobody had told it what to say.
    return [g for g in grouped.values() if len(g) > 1 and (g[0].prompt or not has_stances)]


def _head_to_head(
    debated: Debated, by_prompt: Sequence[Sequence[Message]], options: DPOOptions, tally: Tally
) -> Iterator[Candidate]:
    outcome = debated.stored.outcome
    if outcome is None or not outcome.is_reached:
        tally.drop("no consensus")
        return
    if not by_prompt:
        tally.drop("no two answers to the same prompt")
        return
    first = {s.seat for s in debated.stored.standings if s.place == 1}
    for group in by_prompt:
        right = [m for m in group if m.answer_key == outcome.answer_key and m.seat in first]
        wrong = [m for m in group if m.answer_key != outcome.answer_key]
        if not right or not wrong:
            tally.drop("a tie: no answer lost" if right else "the winning answer came later")
            continue
        scores = debated.scores or {}
        chosen = max(
            right, key=lambda m: (scores.get(m.id, -1.0), _elo(debated, m) or 0.0, -m.seat)
        )
        for rejected in wrong:
            if not _is_better(debated, chosen, rejected, tally):
                continue
            winner, loser = _elo(debated, chosen), _elo(debated, rejected)
            gap = None if winner is None or loser is None else winner - loser
            needed = options.min_elo_difference
            if needed > 0.0 and gap is None:
                tally.drop("a rating isn't known")
            elif needed > 0.0 and gap is not None and gap < needed:
                tally.drop(f"rating difference below {needed:g}")
            else:
                yield from _pair(debated, "head_to_head", chosen, rejected, options, tally, gap)


def _experts(
    debated: Debated, by_prompt: Sequence[Sequence[Message]], options: DPOOptions, tally: Tally
) -> Iterator[Candidate]:
    """Each lower rated answer against the best rated one of the domain, where these differ.

    An expert who lost is no example.
    """
    outcome = debated.stored.outcome
    for group in by_prompt:
        rated = [(elo, m) for m in group if (elo := _domain_elo(debated, m)) is not None]
        if len(rated) < 2:
            tally.drop("fewer than two ratings in the domain")
            continue
        best, expert = max(rated, key=lambda pair: (pair[0], -pair[1].seat))
        won = outcome.answer_key if outcome is not None and outcome.is_reached else None
        if won is not None and debated.scores is None and expert.answer_key != won:
            tally.drop("the expert lost")
            continue
        for elo, other in rated:
            gap = best - elo
            if other is expert or other.answer_key == expert.answer_key:
                continue
            if gap <= 0.0 or gap < options.min_elo_difference:
                tally.drop(f"rating difference in the domain below {options.min_elo_difference:g}")
            elif _is_better(debated, expert, other, tally):
                yield from _pair(debated, "domain", expert, other, options, tally, gap)


def _is_better(debated: Debated, one: Message, other: Message, tally: Tally) -> bool:
    """Whether nothing that a deciding verifier said forbids to prefer one answer; counts it."""
    scores = debated.scores
    if scores is None:
        return True
    if one.id not in scores or other.id not in scores:
        tally.drop("an answer that the verifier could not check")
        return False
    if scores[one.id] <= scores[other.id]:
        tally.drop("the verifier did not find the other answer worse")
        return False
    return True


def _calibrated(debated: Debated, options: DPOOptions, tally: Tally) -> Iterator[Candidate]:
    """Statements of confidence to the same prompt: the one nearest to the truth, the farthest one.

    The measure is the squared error of the stated confidence (Brier 1950).
    """
    grouped: dict[str, list[tuple[float, Message]]] = defaultdict(list)
    for vote, said in debated.votes:
        truth = None if vote.choice_seat is None else _truth(debated, vote.choice_seat)
        if vote.confidence is None or truth is None:
            continue
        # A confidence that was computed beside the text can't be learned from the text.
        if said.confidence_source == "stated" and said.prompt:
            key = f"{said.phase} {said.prompt_digest}"
            grouped[key].append(((vote.confidence - truth) ** 2, said))
    for group in grouped.values():
        if len(group) < 2:
            continue
        best = min(group, key=lambda pair: pair[0])
        worst = max(group, key=lambda pair: pair[0])
        if worst[0] - best[0] < options.min_calibration_gap:
            tally.drop(f"calibration difference below {options.min_calibration_gap:g}")
        else:
            yield from _pair(debated, "calibration", best[1], worst[1], options, tally, None)


def _truth(debated: Debated, seat: int) -> float | None:
    """1.0 when a seat's last answer is right, by a verifier without a key, else by the outcome."""
    standing = next((s for s in debated.stored.standings if s.seat == seat), None)
    final = debated.messages.get(standing.final_message_id or 0) if standing else None
    if final is None:
        return None
    for verdict in debated.stored.verdicts:
        if verdict.message_id == final.id and not verdict.uses_key:
            return float(verdict.score >= _RIGHT)
    outcome = debated.stored.outcome
    if outcome is None or not outcome.is_reached or outcome.decided_by == "verifier":
        return None
    return float(final.answer_key == outcome.answer_key)


def _pair(
    debated: Debated,
    source: str,
    chosen: Message,
    rejected: Message,
    options: DPOOptions,
    tally: Tally,
    gap: float | None,
) -> Iterator[Candidate]:
    reason = lacks_contrast(
        chosen.text,
        rejected.text,
        max_similarity=options.max_similarity,
        differ_in_answer=source == "calibration" or chosen.answer_key != rejected.answer_key,
    )
    if reason is not None:
        tally.drop(reason)
        return
    texts = (debated.text("chosen", chosen), debated.text("rejected", rejected))
    yield debated.candidate(source, debated.prompt_of(chosen), texts, elo_difference=gap)


def _elo(debated: Debated, message: Message) -> float | None:
    return debated.seats[message.seat].elo_before


def _domain_elo(debated: Debated, message: Message) -> float | None:
    return debated.seats[message.seat].domain_elo_before
