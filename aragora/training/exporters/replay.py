"""Rows of earlier exports that are mixed in, so that what was learned isn't forgotten.

Which rows is a function of the seed. A row comes back only while every debate behind it is still
stored (what a person had removed does not return), when it passes the filters of the export that it
is mixed into (personal data, benchmarks, held-out tasks), and never beside its own repetition.
"""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from aragora.errors import UsageError
from aragora.memory import Memory
from aragora.memory.tables import DebateRow, TaskRow
from aragora.memory.usage import debates_of
from aragora.training.exporters.rows import Row, Tally, turns_of
from aragora.training.exporters.screening import Screen
from aragora.training.exporters.spool import encoded

_BLOCK = 500
Place = tuple[int, int]


def rows_needed(new: int, share: float) -> int:
    """How many rows are `share` of the whole when `new` others are in it."""
    return round(new * share / (1.0 - share))


class Replay:
    """Lines of earlier exports of one layout, chosen and given in their order."""

    def __init__(
        self, paths: Sequence[Path], layout: str, memory: Memory, screen: Screen, tally: Tally
    ) -> None:
        self._paths, self._layout, self._memory = paths, layout, memory
        self._screen, self._tally = screen, tally
        self._files, self._starts = array("I"), array("q")
        for number, path in enumerate(paths):
            self._find(number, path)

    def __len__(self) -> int:
        return len(self._starts)

    def chosen(self, count: int, seed: int) -> Iterator[bytes]:
        """`count` lines, or all if there are fewer."""
        draw = random.Random(seed)
        places = sorted(draw.sample(range(len(self)), min(count, len(self))))
        open_number, file = -1, None
        try:
            for place in places:
                if self._files[place] != open_number or file is None:
                    if file is not None:
                        file.close()
                    open_number = self._files[place]
                    file = self._paths[open_number].open("rb")
                file.seek(self._starts[place])
                row = self._screen.marked(json.loads(file.readline()))
                row["provenance"]["is_replayed"] = True
                yield encoded(row)
        finally:
            if file is not None:
                file.close()

    def _find(self, number: int, path: Path) -> None:
        block: list[tuple[int, Row]] = []
        start = 0
        try:
            with path.open("rb") as file:
                for place, line in enumerate(file, 1):
                    row = _read_row(line, path, place)
                    if self._layout in row:
                        block.append((start, row))
                    start += len(line)
                    if len(block) == _BLOCK:
                        self._take(number, block)
                        block = []
        except OSError as error:
            raise UsageError(f"replay {path}: can't be read: {error.strerror}") from error
        self._take(number, block)

    def _take(self, number: int, block: list[tuple[int, Row]]) -> None:
        debates = {d for _, row in block for d in debates_of(row)}
        query = select(DebateRow.id, TaskRow.text).join(TaskRow, TaskRow.id == DebateRow.task_id)
        tasks: dict[str, str] = {}
        if debates:
            with self._memory.database.read() as session:
                found = session.execute(query.where(DebateRow.id.in_(debates)))
                tasks = dict(found.tuples().all())
        for start, row in block:
            if not debates_of(row) <= tasks.keys():
                self._tally.drop("an earlier row of a removed debate")
            elif self._screen.is_replayable(row, _asked(row, tasks)):
                self._files.append(number)
                self._starts.append(start)


def interleaved(
    new: Iterator[bytes], total: int, old: Iterator[bytes], many: int
) -> Iterator[bytes]:
    """`total` new lines with `many` old ones spread evenly among them."""
    given = 0
    for number, line in enumerate(new, 1):
        yield line
        while given < many * number // max(1, total):
            yield next(old)
            given += 1


def _read_row(line: bytes, path: Path, place: int) -> Row:
    try:
        row: Any = json.loads(line)
        provenance: Any = row["provenance"]
        lists = (provenance["texts"], provenance["uses"])
        said = [turn["content"] for turn in turns_of(row)]
        is_named = "debate_id" in provenance and all(isinstance(one, list) for one in lists)
        if is_named and said and all(isinstance(text, str) for text in said):
            return row
    except (ValueError, KeyError, TypeError):
        pass
    raise UsageError(
        f"replay {path}, line {place}: not a row of an earlier export; give JSONL files that "
        "`aragora training export-…` wrote"
    )


def _asked(row: Row, tasks: Mapping[str, str]) -> str:
    """What benchmarks are compared with: the debate's task, else what the user said last."""
    debate = row["provenance"]["debate_id"]
    if debate is not None:
        return tasks[str(debate)]
    prompt = row["prompt"] if "prompt" in row else row["messages"][:-1]
    return next((turn["content"] for turn in reversed(prompt) if turn["role"] == "user"), "")
