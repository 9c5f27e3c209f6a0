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
from aragora.training.exporters.rows import Candidate, Row, Tally, as_row, turns_of
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

    def is_replayable(self, row: Row, asked: str) -> bool:
        """Whether a row of an earlier export passes this export's filters too.

        That export may have had others, and benchmarks may have been registered since.
        """
        if self._contamination.has(asked):
            self._drop("an earlier row in a benchmark or held out")
            return False
        if self._pii != "keep":
            found = self._found([turn["content"] for turn in turns_of(row)])
            self._tally.pii.update(found)
            if found and self._pii == "drop":
                self._drop("an earlier row with personal data or secrets")
                return False
        if not self.seen.add(key_of_row(self.marked(row))):
            self._drop("an earlier row that repeats another")
            return False
        return True

    def marked(self, row: Row) -> Row:
        """An earlier row as it is written: with marks in place of findings where these are wanted.

        The row is changed in place.
        """
        turns = turns_of(row)
        if self._pii == "redact" and self._found([turn["content"] for turn in turns]):
            for turn in turns:
                turn["content"] = redact(turn["content"]).text
            row["provenance"]["is_redacted"] = True
        return row

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


def key_of_row(row: Row) -> int:
    """`row_key` of a row that is written already."""
    if "messages" in row:
        *prompt, last = row["messages"]
        return row_key(prompt, {"completion": last["content"]})
    texts = {part: row[part][-1]["content"] for part in ("chosen", "rejected")}
    return row_key(row["prompt"], texts)


def row_key(prompt: list[dict[str, str]], texts: dict[str, str]) -> int:
    """What makes two rows the same: all words but for case, spacing and sentence punctuation."""
    turns = [f"{turn['role']}\n{plain_form(turn['content'])}" for turn in prompt]
    return key_of(*turns, *(f"{part}\n{plain_form(text)}" for part, text in sorted(texts.items())))
