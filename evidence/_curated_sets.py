"""Real data sets curated end to end: how much is kept, and that nothing leaks across the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tensafe.curate import CurationConfig, curate_dataset
from tensafe.curate.near import pairs_across
from tensafe.curate.similarity_text import asked, comparison_texts
from tensafe.curate.text import plain
from tensafe.data import Example

# What a reader of the notes beside the data can count: rows of the tables, files that open.
_LONG_ANSWER_CHARS = 80
PROSE_LEFT_OUT = "prose, left out on request"
ROWS = {"COVID-19 FAQ": 1109, "XQuAD": 1190, "GSM8K": 7473}


@dataclass(frozen=True)
class CuratedSet:
    """One set after curation. `across` counts near-duplicate pairs that stand on both sides."""

    name: str
    train: int
    test: int
    kinds: dict[str, int]
    dropped: dict[str, int]
    unreadable: int
    across: int

    @property
    def rows(self) -> int:
        """Rows that were read, kept or dropped; prose beside a table is none."""
        prose = self.dropped.get(PROSE_LEFT_OUT, 0)
        return self.train + self.test + sum(self.dropped.values()) - prose


def table_sets(shared: Path) -> list[CuratedSet]:
    """Tables and PDFs: rows with questions, and prose."""
    tables = shared / "tables"
    return [
        curated("COVID-19 FAQ", tables / "covid_faq", CurationConfig(include_prose=False)),
        curated("XQuAD", tables / "xquad" / "xquad.en.json"),
        curated("GSM8K", tables / "gsm8k" / "train.jsonl"),
        curated("PDFs", shared / "pdf"),
    ]


def _exchanges(examples: Sequence[Example]) -> list[str]:
    """Question with answer, where the answer is long enough to be learned by heart."""
    return [
        plain(f"{asked(example)}\n{example.reference}")
        for example in examples
        if example.kind != "text" and len(example.reference) >= _LONG_ANSWER_CHARS
    ]


def curated(name: str, path: Path, config: CurationConfig | None = None) -> CuratedSet:
    """Curates a path and compares every text of one side with every text of the other."""
    settings = config or CurationConfig()
    dataset = curate_dataset(path, settings)
    train, test = list(dataset.train), list(dataset.test)
    texts = comparison_texts([*train, *test])
    limit = settings.near_duplicate_threshold
    pairs = pairs_across(texts[: len(train)], texts[len(train) :], limit)
    pairs += pairs_across(_exchanges(train), _exchanges(test), limit)
    report = dataset.report
    return CuratedSet(
        name=name,
        train=len(train),
        test=len(test),
        kinds=dict(Counter(example.kind for example in (*train, *test))),
        dropped=report.dropped,
        unreadable=len(report.unreadable),
        across=len(pairs),
    )
