"""From candidates to rows: personal data, contamination and repetition, each counted.

Every candidate passes the filters in this order, so that the counts add up: a benchmark's item is
told as such and not as a repetition.
"""

from __future__ import annotations

import re
from collections import Counter

from aragora.training.exporters.benchmarks import Contamination
from aragora.training.exporters.keys import KeySet, key_of, plain_form
from aragora.training.exporters.options import PiiRule
from aragora.training.exporters.rows import Candidate, Row, Tally, as_row
from tensafe.curate.pii import find_pii, redact


class Screen:
    """Filters of one export; it remembers what it let through."""

    def __init__(
        self,
        contamination: Contamination,
        pii: PiiRule,
        *,
        deduplicate: bool,
        planted: re.Pattern[str] | None,
        tally: Tally,
    ) -> None:
        self._contamination, self._pii, self._tally = contamination, pii, tally
        self._deduplicate, self._planted = deduplicate, planted
        self.seen = KeySet()

    def row(self, candidate: Candidate) -> Row | None:
        """The row of a candidate, None when a filter took it."""
        if any(not text.text.strip() for text in candidate.texts):
            return self._drop("an empty text")
        if self._contamination.has(candidate.asked):
            return self._drop("in a benchmark or held out")
        prompt, texts = candidate.prompt, {text.part: text.text for text in candidate.texts}
        if self._pii != "keep":
            found = self._found([*(turn["content"] for turn in prompt), *texts.values()])
            self._tally.pii.update(found)
            if found and self._pii == "drop":
                return self._drop("personal data or secrets")
            if found:
                prompt = [{**turn, "content": redact(turn["content"]).text} for turn in prompt]
                texts = {part: redact(text).text for part, text in texts.items()}
        if self._deduplicate and not self.seen.add(row_key(prompt, texts)):
            return self._drop("a repetition")
        return as_row(candidate, prompt, texts)

    def _found(self, texts: list[str]) -> Counter[str]:
        """Findings by kind, without the words that an attack planted."""
        planted = self._planted
        return Counter(
            finding.kind
            for text in texts
            for finding in find_pii(text)
            if planted is None or not planted.search(finding.text)
        )

    def _drop(self, reason: str) -> None:
        self._tally.drop(reason)


def row_key(prompt: list[dict[str, str]], texts: dict[str, str]) -> int:
    """What makes two rows the same: all words but for case, spacing and sentence punctuation."""
    turns = [f"{turn['role']}\n{plain_form(turn['content'])}" for turn in prompt]
    return key_of(*turns, *(f"{part}\n{plain_form(text)}" for part, text in sorted(texts.items())))
