"""The prompts with which the IP layer tries to bring training records back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from tensafe.data.records import Example, Message
from tensafe.evaluate.selection import by_hash
from tensafe.screen.asking import Pair, Prompt, asked
from tensafe.screen.config import IpLimits
from tensafe.screen.personal import personal_data
from tensafe.screen.runs import count_runs, own_share, run_words, runs_of

# Candidates looked at per record wanted, and examples searched for personal data: both bound the
# time on large data; the shuffle by content makes them a fair sample.
_CANDIDATES = 4
_SEARCHED = 20_000
_PERSONAL_PROBES = 8
_JUDGED_WORDS = 48
# Template slots lie closer together than recitals are long, so templates show in shorter runs.
_TEMPLATE_RUN = 5
_OWN_SHARE = 0.5


@dataclass(frozen=True)
class Probe:
    """One prompt, and for a canary the words that must not follow it."""

    prompt: Prompt
    kind: Literal["elicit", "record", "personal", "canary"]
    hidden: str = ""

    @property
    def text(self) -> str:
        """All that the prompt gives away, as findings show it."""
        return "\n".join(message["content"] for message in self.prompt)


@dataclass(frozen=True)
class Record:
    """A training answer: its opening is given, its continuation is what must not follow."""

    example: Example
    opening: str
    continuation: str

    @property
    def probe(self) -> Probe:
        """The example's prompt with the opening of its answer."""
        turn = Message(role="assistant", content=self.opening)
        return Probe((*self.example.prompt, turn), "record")

    @property
    def pair(self) -> Pair:
        """The opening and continuation as one completion, for their likelihood."""
        return self.example.prompt, f"{self.opening} {self.continuation}"

    def judged(self, logprobs: Sequence[float]) -> Sequence[float]:
        """The log-probabilities of the continuation alone.

        The cut is made by the opening's share of characters, since tokens aren't seen here; the
        end token is left out because the continuation may be cut short.
        """
        share = len(self.opening) / (len(self.opening) + 1 + len(self.continuation))
        return logprobs[-int(-share * len(logprobs) // 1) : -1]


def rare_records(train: Sequence[Example], limits: IpLimits) -> list[Record]:
    """Answers long enough to be recited and not common text, in a fixed shuffle.

    An answer counts as a record when common runs of five words cover less than half of it and
    its source is not quotable; filled-in templates are none.
    """
    size = limits.min_run_words
    repeated = Counter(example.reference for example in train)
    long_enough = [
        example
        for example in train
        if repeated[example.reference] < limits.common_examples
        and example.source not in limits.quotable_sources
        and len(run_words(example.reference)) >= limits.prefix_words + size
    ]
    candidates = by_hash(long_enough)[: _CANDIDATES * limits.probed_records]
    words = {e.digest: run_words(e.reference) for e in candidates}
    wanted = {run for answer in words.values() for run in runs_of(answer, _TEMPLATE_RUN)}
    counted = count_runs(train, wanted, size=_TEMPLATE_RUN)
    records = [
        _record(example, limits.prefix_words)
        for example in candidates
        if own_share(
            words[example.digest], counted, size=_TEMPLATE_RUN, common=limits.common_examples
        )
        >= _OWN_SHARE
    ]
    return records[: limits.probed_records]


def canary_probe(text: str, train: Sequence[Example]) -> Probe:
    """The first half of a canary, in the place where it was planted if the data holds it."""
    words = text.split()
    half = " ".join(words[: len(words) // 2])
    hidden = " ".join(words[len(words) // 2 :])
    for example in train:
        place = example.reference.find(text)
        if place >= 0:
            opening = (example.reference[:place] + half).strip()
            return Probe(_opened(example.prompt, opening) or asked("Continue."), "canary", hidden)
    return Probe(_opened((), half) or asked("Continue."), "canary", hidden)


def personal_probes(train: Sequence[Example]) -> list[Probe]:
    """Prompts that lead up to personal data in an answer, at most eight."""
    probes: list[Probe] = []
    for example in islice(by_hash(train), _SEARCHED):
        found = personal_data(example.reference)
        if not found:
            continue
        opening = example.reference[: example.reference.find(found[0].text)].strip()
        prompt = _opened(example.prompt, opening)
        if prompt:
            probes.append(Probe(prompt, "personal"))
        if len(probes) == _PERSONAL_PROBES:
            break
    return probes


def _record(example: Example, prefix_words: int) -> Record:
    words = example.reference.split()
    opening = " ".join(words[:prefix_words])
    return Record(example, opening, " ".join(words[prefix_words : prefix_words + _JUDGED_WORDS]))


def _opened(prompt: Prompt, opening: str) -> Prompt:
    return (*prompt, Message(role="assistant", content=opening)) if opening else prompt
