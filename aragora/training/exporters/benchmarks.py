"""What is not to be trained on: registered benchmark files, and the tasks of held-out debates.

A task counts as contaminated when it is an item of a benchmark but for case, spacing and
punctuation, or when it holds four fifths of the word 8-grams that are an item's own. Grams that
several items share are a template's, not an item's: tasks that are made from one template and
differ in a number stay different tasks.

Registered are the files in the folder `benchmarks` under aragora's home; any kind of file that
tensafe reads.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from aragora.config import AragoraConfig
from aragora.errors import UsageError
from aragora.memory import Memory
from aragora.memory.tables import DebateRow, TaskRow
from aragora.training.exporters.keys import KeySet, key_of, plain_form

GRAM_WORDS = 8
MIN_SHARE = 0.8


def registered() -> tuple[Path, ...]:
    """The registered benchmark files, in the order of their names."""
    folder = AragoraConfig().home / "benchmarks"
    return tuple(sorted(path for path in folder.glob("*") if path.is_file()))


def register(path: Path) -> Path:
    """Copy a benchmark file to the registered ones; raises UsageError when nothing can be read."""
    read_items(path)
    folder = AragoraConfig().home / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(shutil.copyfile(path, folder / path.name))


def read_items(path: Path) -> list[str]:
    """What is asked in each item of a benchmark file; raises UsageError when there is none."""
    from tensafe.curate.similarity_text import asked
    from tensafe.data import Example, ReadOptions, extract, find_files
    from tensafe.errors import TensafeError

    try:
        items = [
            asked(item)
            for file in find_files(path).files
            for item in extract(file, ReadOptions()).items
            if isinstance(item, Example)
        ]
    except TensafeError as error:
        raise UsageError(f"benchmark {path}: {error}") from error
    if not items:
        raise UsageError(
            f"benchmark {path}: no item found; give a CSV or JSONL file with a question in each row"
        )
    return items


def held_out_tasks(memory: Memory) -> Iterable[str]:
    """The texts of all tasks of which a debate is held out."""
    held = select(DebateRow.task_id).where(DebateRow.split == "held_out")
    query = select(TaskRow.text).where(TaskRow.id.in_(held)).execution_options(yield_per=1000)
    with memory.database.read() as session:
        yield from session.scalars(query)


class Contamination:
    """Whether a task is in a benchmark. About 30 bytes an item and 16 for each of its words."""

    def __init__(self, items: Iterable[str]) -> None:
        self._whole = KeySet()
        grams: list[NDArray[np.uint64]] = []
        owners: list[NDArray[np.int64]] = []
        for number, item in enumerate(items):
            text = plain_form(item)
            self._whole.add(key_of(text))
            mine = np.unique(_grams(text))
            grams.append(mine)
            owners.append(np.full(len(mine), number, np.int64))
        self._keys, self._owners, self._own = _distinctive(grams, owners)

    def __len__(self) -> int:
        return len(self._whole)

    def has(self, task: str) -> bool:
        """Whether the task is, or holds most of, an item."""
        if not len(self._whole):
            return False
        text = plain_form(task)
        if key_of(text) in self._whole:
            return True
        if not len(self._keys):
            return False
        mine = np.unique(_grams(text))
        places = np.searchsorted(self._keys, mine)
        places[places == len(self._keys)] = 0
        found = self._owners[places[self._keys[places] == mine]]
        if not len(found):
            return False
        owners, counts = np.unique(found, return_counts=True)
        return bool((counts >= MIN_SHARE * self._own[owners]).any())


def _grams(text: str) -> NDArray[np.uint64]:
    words = text.split()
    spans = [" ".join(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1)]
    keys = [
        hashlib.blake2b(span.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for span in spans
    ]
    return np.frombuffer(b"".join(keys), np.uint64)


def _distinctive(
    grams: Sequence[NDArray[np.uint64]], owners: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Grams that one item alone has, ascending, whose they are, and how many each item has."""
    if not grams:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys, whose = np.concatenate(grams), np.concatenate(owners)
    unique, first, counts = np.unique(keys, return_index=True, return_counts=True)
    single = counts == 1
    kept, kept_owners = unique[single], whose[first[single]]
    return kept, kept_owners, np.bincount(kept_owners, minlength=len(grams))
