"""The measured parts of `scale`, each run in a process of its own: `analyze` and `curate`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from evidence._scale_corpus import read_plan
from tensafe.curate import curate_dataset
from tensafe.curate.near import Clusters, jaccard, join_near, pairs_across, shingles
from tensafe.curate.similarity_text import asked
from tensafe.curate.text import plain
from tensafe.data import Dataset, analyze_data

LIMIT = 0.75
TESTED, TRAINED = 2_000, 20_000
_STARTED = time.monotonic()


def analyze(corpus: Path) -> dict[str, Any]:
    """Reading alone."""
    analysis = analyze_data(corpus)
    return {"rows": sum(file.records for file in analysis.files), **spent()}


def curate(corpus: Path) -> dict[str, Any]:
    """Curation, and what became of the planted copies; the checks are not in its cost."""
    dataset = curate_dataset(corpus)
    cost = spent()
    return {
        "rows": len(dataset.train) + len(dataset.test) + sum(dataset.report.dropped.values()),
        **cost,
        "train": len(dataset.train),
        "test": len(dataset.test),
        "dropped": dataset.report.dropped,
        **recall(dataset, corpus),
        "near_across_split": near_across(dataset),
    }


def spent() -> dict[str, float]:
    """What this process has cost since it started: seconds, CPU seconds, most memory held."""
    return {
        "seconds": round(time.monotonic() - _STARTED, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def recall(dataset: Dataset, corpus: Path) -> dict[str, float]:
    """Shares of the planted copies: repeats that are gone, near ones beside their original."""
    side = {
        int(example.place.split()[-1]) - 2: name
        for name, examples in (("train", dataset.train), ("test", dataset.test))
        for example in examples
    }
    exact, near = read_plan(corpus)
    gone = sum(not (origin in side and copy in side) for origin, copy in exact)
    # Of equal rows any may have stayed; pairs of which one is gone can't be told apart.
    both = [(side[a], side[b]) for a, b in near if a in side and b in side]
    together = sum(one == other for one, other in both)
    return {
        "exact_planted": len(exact),
        "exact_recall": gone / len(exact),
        "near_planted": len(both),
        "near_recall": round(together / len(both), 5),
    }


def near_across(dataset: Dataset) -> int:
    """Near-duplicates between a sample of each side, every pair of it compared.

    A side is in the order of its digests, so its first examples are a random sample.
    """
    tested = [plain(asked(example)) for example in dataset.test[:TESTED]]
    found = 0
    for start in range(0, TRAINED, 10_000):
        part = dataset.train[start : start + 10_000]
        found += len(pairs_across([plain(asked(example)) for example in part], tested, LIMIT))
    return found


def join_with_tensafe(questions: Sequence[str]) -> int:
    """Near-duplicate joins, from the plain texts on."""
    texts = [plain(text) for text in questions]
    return join_near(Clusters(len(texts)), range(len(texts)), texts, LIMIT)


def join_with_rensa(questions: Sequence[str]) -> int:
    """The same with rensa's MinHash and index, shingles made in Python, candidates verified."""
    rensa: Any = import_module("rensa")
    texts = [plain(text) for text in questions]
    grams = [shingles(text) for text in texts]
    sketches = rensa.RMinHash.from_token_sets([list(one) for one in grams], 125, 7)
    index = rensa.RMinHashLSH(LIMIT, 125, 25)
    clusters, joins = Clusters(len(texts)), 0
    for position, sketch in enumerate(sketches):
        for candidate in index.query(sketch):
            if clusters.find(candidate) == clusters.find(position):
                continue
            if jaccard(grams[position], grams[candidate]) >= LIMIT:
                clusters.join(candidate, position)
                joins += 1
        index.insert(position, sketch)
    return joins


if __name__ == "__main__":
    part = {"analyze": analyze, "curate": curate}[sys.argv[1]]
    print(json.dumps(part(Path(sys.argv[2]))))
