"""Data whose every part would do something if it were ever more than text, and a real run on it."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from tensafe.cli import main

SCRIPT = "<script>document.title='owned'</script>"
LABELS = (
    '"><img src=x onerror="document.title=\'owned\'">',
    "</style><script>document.title='owned'</script>",
    "{{ 7 * 7 }} & {% raw %}",
)
FILE_NAME = "rows & <b>more<i>.csv"
COLUMN = "<u>team</u>"
THINGS = ("boat", "anchor", "pear", "ladder", "crane", "anvil", "mast", "hive", "plum", "ingot")
FRAMES = (
    "Where do I take the {} on {}?",
    "The {} is waiting since {}, who comes?",
    "Please fetch one {} for us before {}.",
    "My {} broke last {}.",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
# What a report reads of a run folder, beside the package.
RECORDS = (
    "config.json", "dataset/card.json", "events.jsonl", "evaluation.json", "screening.json",
    "gates.json", "privacy.json", "provenance.json", "outcome.json",
)  # fmt: skip


def write_rows(folder: Path) -> None:
    """200 rows whose labels are drawn by chance, so that nothing can be learned from them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(4)
    with (folder / FILE_NAME).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("message", COLUMN))
        for frame in FRAMES:
            for thing in THINGS:
                for day in DAYS:
                    attack = f" {SCRIPT} \u202egnp.\u202c" if rng.random() < 0.5 else ""
                    writer.writerow((frame.format(thing, day) + attack, rng.choice(LABELS)))


def train(data: Path, out: Path, *options: str) -> int:
    """Four private steps on the rows; gives the exit code, which is 3."""
    with pytest.raises(SystemExit) as end:
        main(
            [
                "train", "--data", str(data), "--out", str(out), "--steps", "4", "--lot", "24",
                "--domain", "<b>places</b>", "--question-column", "message",
                "--answer-column", COLUMN, *options,
            ]
        )  # fmt: skip
    return int(end.value.code or 0)
