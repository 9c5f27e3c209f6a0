"""A folder that mixes real PDFs, the COVID FAQ, Parquet and JSONL is read whole.

Part of the claim `banking77`. Holds when every file is either used or named with its reason, the
password-protected and the empty PDF are named as such, the malformed one as nearly empty, every
other PDF, table of questions and JSONL file is used, and nothing is shared across the split.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from tensafe.curate import CurationConfig, curate_dataset
from tensafe.curate.near import pairs_across
from tensafe.curate.similarity_text import comparison_texts
from tensafe.data.records import Dataset

_FOLDERS = {"pdf": "pdf", "covid_faq": "tables/covid_faq", "parquet": "parquet/data"}
_NAMED = {
    "pdf/password-example.pdf": "password-protected",
    "pdf/empty.pdf": "empty file",
    "pdf/malformed-from-issue-932.pdf": "nearly empty",
}
_ENDINGS = {".pdf", ".csv", ".tsv", ".parquet", ".jsonl"}


def run(shared: Path) -> dict[str, Any]:
    """Builds the folder from `shared`, curates it, prints a table; gives figures and `holds`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _build(folder, shared)
        names = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )
        started = time.process_time()
        dataset = curate_dataset(folder)
        seconds = time.process_time() - started
    return _judge(dataset, names, seconds)


def _build(folder: Path, shared: Path) -> None:
    for name, source in _FOLDERS.items():
        (folder / name).mkdir()
        for path in sorted((shared / source).iterdir()):
            if path.suffix in _ENDINGS:
                shutil.copyfile(path, folder / name / path.name)
    shutil.copyfile(shared / "tables" / "gsm8k" / "train.jsonl", folder / "gsm8k.jsonl")
    # Apache's test files hold no questions; the same real messages as a Parquet table do.
    messages = pl.read_csv(shared / "tables" / "banking77" / "train.csv")
    messages.write_parquet(folder / "parquet" / "banking77.parquet", compression="zstd")


def _judge(dataset: Dataset, names: list[str], seconds: float) -> dict[str, Any]:
    kept = dataset.report.kept_by_source
    reasons: dict[str, list[str]] = defaultdict(list)
    for part in dataset.report.unreadable:
        reasons[part.source].append(f"{part.place}: {part.reason}" if part.place else part.reason)
    for name in names:
        why = "; ".join(reasons.get(name, []))
        print(f"{kept.get(name, 0):>6}  {name:<58}  {why[:110]}")
    named = {
        name: any(word in reason for reason in reasons.get(name, []))
        for name, word in _NAMED.items()
    }
    must_be_used = [
        name
        for name in names
        if name not in _NAMED
        and (name == "parquet/banking77.parquet" or not name.startswith("parquet/"))
    ]
    unused = [name for name in must_be_used if not kept.get(name)]
    silent = [name for name in names if not kept.get(name) and name not in reasons]
    across = _pairs_across(dataset)
    return {
        "files": len(names),
        "files_used": len(kept),
        "files_named_with_reason": len(reasons),
        "examples": len(dataset.train) + len(dataset.test),
        "test_share": round(len(dataset.test) / (len(dataset.train) + len(dataset.test)), 4),
        "cpu_seconds": round(seconds, 2),
        "named": named,
        "unused": unused,
        "silent": silent,
        "near_duplicates_across_split": across,
        "holds": all(named.values()) and not unused and not silent and across == 0,
    }


def _pairs_across(dataset: Dataset) -> int:
    """Near-duplicate pairs between the two sides, by exact comparison."""
    texts = comparison_texts([*dataset.train, *dataset.test])
    cut = len(dataset.train)
    return len(pairs_across(texts[:cut], texts[cut:], CurationConfig().near_duplicate_threshold))
