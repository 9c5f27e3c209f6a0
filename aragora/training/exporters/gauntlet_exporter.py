"""Adversarial rows: an attack with a defence that held, and held against broken replies as pairs.

A pair's two replies answered the same words: most attacks plant a secret that differs from run to
run, and these give no pairs. What an attack planted is no personal data.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any, ClassVar

from aragora.memory import DebateFilter, Memory
from aragora.memory.records import StoredAttack, Trial
from aragora.training.exporters.base import Exporter, Group
from aragora.training.exporters.contrast import lacks_contrast
from aragora.training.exporters.options import GauntletOptions
from aragora.training.exporters.rows import Candidate, Chat, Tally, Text

Tried = tuple[StoredAttack, Trial, str]


class GauntletExporter(Exporter[GauntletOptions]):
    """Rows from gauntlet runs; see `GauntletOptions`. Pages go by attack: `after` is one's id."""

    kind: ClassVar[str] = "gauntlet"
    unit: ClassVar[str] = "trials"
    planted = re.compile("zephyr[0-9a-f]{6}", re.IGNORECASE)
    options_type = GauntletOptions

    def funnel(self, memory: Memory, options: GauntletOptions) -> list[tuple[str, DebateFilter]]:
        return []

    def groups(self, memory: Memory, options: GauntletOptions, tally: Tally) -> Iterator[Group]:
        tried = (t for t in memory.gauntlet.iterate_trials(after=options.after))
        for attack_id, trials in groupby(tried, key=lambda t: t[0].id):
            wanted = [t for t in trials if _is_wanted(t, options, tally)]
            yield attack_id, list(candidates_of(wanted, options, tally))


def candidates_of(
    trials: list[Tried], options: GauntletOptions, tally: Tally
) -> Iterator[Candidate]:
    """What the trials of one attack teach."""
    if not trials:
        return
    held = [t for t in trials if t[1].verdict == "held"]
    broken = [t for t in trials if t[1].verdict == "broken"]
    tally.drop("a trial that failed", len(trials) - len(held) - len(broken))
    if options.include_attack_patterns:
        if not held:
            tally.drop("no defence held against the attack")
        for one in held:
            yield _candidate("attack", one, (_text("completion", one),))
    if options.include_defense_training and broken:
        defences: dict[str, list[Tried]] = defaultdict(list)
        for one in held:
            defences[json.dumps(_prompt(one[1]))].append(one)
        for one in broken:
            answers = defences.get(json.dumps(_prompt(one[1])), [])
            if not answers:
                tally.drop("a broken reply without a defence to the same words")
                continue
            best = answers[0]
            reason = lacks_contrast(
                best[1].reply, one[1].reply, max_similarity=options.max_similarity
            )
            if reason is not None:
                tally.drop(reason)
                continue
            yield _candidate("defence", best, (_text("chosen", best), _text("rejected", one)))


def _is_wanted(tried: Tried, options: GauntletOptions, tally: Tally) -> bool:
    attack, trial, agent = tried
    tally.records_read += 1
    if options.domains and attack.category not in options.domains:
        reason = "another category"
    elif options.agents and agent not in options.agents:
        reason = "another agent"
    elif (options.since is not None and trial.at < options.since.timestamp()) or (
        options.until is not None and trial.at >= options.until.timestamp()
    ):
        reason = "outside of the span of time"
    elif _is_asked_apart(attack):
        reason = "turns that were asked apart from each other"
    else:
        return True
    tally.drop(reason)
    return False


def _is_asked_apart(attack: StoredAttack) -> bool:
    detector: dict[str, Any] = attack.content.get("detector", {})
    return bool(detector.get("separate"))


def _prompt(trial: Trial) -> Chat:
    turns: list[dict[str, Any]] = trial.exchange[:-1]
    return [{"role": str(t["role"]), "content": str(t["content"])} for t in turns]


def _text(part: str, tried: Tried) -> Text:
    _, trial, agent = tried
    return Text(part, trial.reply, "trial", str(trial.id), None, agent)


def _candidate(source: str, tried: Tried, texts: tuple[Text, ...]) -> Candidate:
    attack, trial, _ = tried
    prompt = _prompt(trial)
    asked = next((t["content"] for t in reversed(prompt) if t["role"] == "user"), "")
    return Candidate(
        source=source,
        domain=attack.category,
        prompt=prompt,
        texts=texts,
        asked=asked,
        task_id=attack.id,
        at=trial.at,
    )
