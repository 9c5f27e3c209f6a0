"""Question-answer pairs out of real documents: how many, how sensible, and nothing on both sides.

A sample of 200 pairs from the economics textbook was read and judged one by one. The judgements
are in `textbook_judgements.json`, each bound to its pair by the pair's digest (SHA-256 of its
messages), so that no text of the book is kept here. The sample is the 200 pairs with the smallest
salted hash: it can't be chosen, and a changed extraction only replaces the pairs that it changed.
The first sample was used to improve the extraction, so the one judged here is a second one.
A pair of the sample without a judgement fails the claim. `--show` prints the sample for judging.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evidence._train import shared_data
from tensafe.curate import CurationConfig, curate_dataset
from tensafe.curate.near import pairs_across
from tensafe.curate.similarity_text import comparison_texts
from tensafe.data import Dataset, Example

JUDGEMENTS = Path(__file__).resolve().parent / "textbook_judgements.json"
SALT, SAMPLE = "textbook, second sample", 200
MINIMUM_PAIRS, MINIMUM_SENSIBLE = 800, 0.90
# Pairs that a reading must give at least; the counts of tables are those of their own rows.
OTHERS = {
    "covid_faq": ("tables/covid_faq/faq_200327.tsv", 800),
    "xquad": ("tables/xquad/xquad.en.json", 1100),
    "gsm8k": ("tables/gsm8k/train.jsonl", 7000),
    "pdf": ("pdf", 1),
}


def curated(path: Path) -> Dataset:
    """The curated pairs of a file or folder, without its prose."""
    return curate_dataset(path, CurationConfig(include_prose=False))


def sample_of(examples: Sequence[Example]) -> list[Example]:
    """The 200 examples with the smallest salted hash."""

    def rank(example: Example) -> str:
        return hashlib.sha256(f"{SALT} {example.digest}".encode()).hexdigest()

    return sorted(examples, key=rank)[:SAMPLE]


def judged(sample: Sequence[Example]) -> dict[str, Any]:
    """Share of the sample that was judged sensible; unjudged pairs count against it."""
    if not JUDGEMENTS.exists():
        return {"sample": len(sample), "unjudged": len(sample), "sensible": 0.0}
    entries = json.loads(JUDGEMENTS.read_text(encoding="utf-8"))["pairs"]
    verdicts = {entry["pair"]: bool(entry["sensible"]) for entry in entries}
    found = [verdicts.get(example.digest) for example in sample]
    return {
        "sample": len(sample),
        "unjudged": found.count(None),
        "sensible": round(found.count(True) / max(1, len(sample)), 4),
    }


def kinds_of(examples: Sequence[Example]) -> dict[str, int]:
    """Where the pairs come from: glossary, running text, exercises and questions that head text."""
    return dict(Counter(_kind(example) for example in examples))


def _kind(example: Example) -> str:
    if "#term " in example.group:
        return "glossary"
    return "definition in prose" if "#section " in example.group else "exercise or question"


def crossing(dataset: Dataset) -> int:
    """Pairs of near-duplicate prompts with one member on each side (exact count)."""
    texts = comparison_texts([*dataset.train, *dataset.test])
    cut = len(dataset.train)
    return len(pairs_across(texts[:cut], texts[cut:], 0.75))


def groups_across(dataset: Dataset) -> int:
    """Source passages with examples on both sides of the split."""
    sides = [{example.group for example in side} for side in (dataset.train, dataset.test)]
    return len(sides[0] & sides[1])


def run() -> dict[str, Any]:
    """The figures of this claim; `holds` says whether they are what is claimed."""
    shared = shared_data()
    book = curated(shared / "text" / "openstax" / "economics.txt")
    examples = [*book.train, *book.test]
    reading = judged(sample_of(examples))
    distinct = len({example.digest for example in examples})
    figures: dict[str, Any] = {
        "economics": {
            "distinct_pairs": distinct,
            "kinds": kinds_of(examples),
            "train": len(book.train),
            "test": len(book.test),
            "near_duplicates_across": crossing(book),
            "passages_across": groups_across(book),
            "left_out": book.report.dropped,
            **reading,
        }
    }
    enough = True
    for name, (place, minimum) in OTHERS.items():
        other = curated(shared / place)
        pairs = len(other.train) + len(other.test)
        figures[name] = {"pairs": pairs, "passages_across": groups_across(other)}
        enough = enough and pairs >= minimum and not figures[name]["passages_across"]
    economics = figures["economics"]
    figures["holds"] = bool(
        distinct >= MINIMUM_PAIRS
        and reading["unjudged"] == 0
        and reading["sensible"] >= MINIMUM_SENSIBLE
        and economics["near_duplicates_across"] == 0
        and economics["passages_across"] == 0
        and enough
    )
    return figures


def show() -> None:
    """Print the sample with the verdicts that it has, for the person who judges."""
    book = curated(shared_data() / "text" / "openstax" / "economics.txt")
    known: dict[str, str] = {}
    if JUDGEMENTS.exists():
        entries = json.loads(JUDGEMENTS.read_text(encoding="utf-8"))["pairs"]
        known = {entry["pair"]: str(entry["sensible"]) for entry in entries}
    for number, example in enumerate(sample_of([*book.train, *book.test])):
        asked = example.prompt[-1]["content"]
        verdict = known.get(example.digest, "unjudged")
        print(f"[{number}] {example.digest[:12]} {verdict} ({_kind(example)}, {example.place})")
        print(f"    {asked}\n    => {example.reference}")


def main() -> None:
    """Show the sample, or conclude."""
    if "--show" in sys.argv:
        show()
        return
    figures = run()
    holds = figures.pop("holds")
    print(json.dumps({"name": "textbook_pairs", "figures": figures, "holds": holds}))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
