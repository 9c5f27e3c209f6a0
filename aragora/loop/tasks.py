"""The loop's task file: what is debated and trained on, and what is only ever measured.

One JSON object a line: `task`, `split` (`train` or `held_out`), and optionally `context` and
`domain`. A held-out task carries its `answer`; a training task must not, so that no key can reach
what is trained on. Half of the held-out tasks (by the digest of their words) decide which version
is used, the other half is only reported: figures of the second owe nothing to the choice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aragora.errors import UsageError
from aragora.memory.identity import answer_key, digest_of

FEWEST_HELD_OUT = 12
_FIELDS = {"task", "split", "answer", "context", "domain"}


@dataclass(frozen=True)
class LoopTask:
    """One task; `answer` is "" for what is trained on."""

    task: str
    answer: str = ""
    context: str = ""
    domain: str = "general"

    @property
    def question(self) -> str:
        """Context and task as agents see them."""
        return f"{self.context}\n\n{self.task}" if self.context else self.task

    @property
    def id(self) -> str:
        """Hex SHA-256 of what is asked."""
        return hashlib.sha256(self.question.encode("utf-8", "surrogatepass")).hexdigest()

    def is_right(self, answer: str) -> bool:
        """Whether an answer is the key in normal form."""
        return answer_key(answer) == answer_key(self.answer)


@dataclass(frozen=True)
class TaskSet:
    """Training tasks, held-out tasks that decide (`check`), and those only reported (`test`)."""

    train: tuple[LoopTask, ...]
    check: tuple[LoopTask, ...]
    test: tuple[LoopTask, ...]

    @property
    def digest(self) -> str:
        """Hex SHA-256 over all tasks in order."""
        parts = (self.train, self.check, self.test)
        return digest_of([[vars(task) for task in part] for part in parts])

    def of_round(self, number: int, rounds: int) -> tuple[LoopTask, ...]:
        """The training tasks of round `number` (from 1): every one is debated in one round."""
        return self.train[number - 1 :: rounds]


def read_tasks(path: Path) -> TaskSet:
    """Read a task file.

    Raises UsageError that names the file and the line: not JSON, a missing or unknown field, a key
    on a training task, no key on a held-out one, a task given twice, or too few of them.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
    train: list[LoopTask] = []
    held: list[LoopTask] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        task, is_train = _task(line, where)
        key = answer_key(task.question)
        if key in seen:
            raise UsageError(
                f"{where}: the same task stands in line {seen[key]}; a task is in one split only"
            )
        seen[key] = number
        (train if is_train else held).append(task)
    if not train:
        raise UsageError(f"{path}: no task has split train, so there is nothing to debate")
    if len(held) < FEWEST_HELD_OUT:
        raise UsageError(
            f"{path}: {len(held)} held-out tasks; at least {FEWEST_HELD_OUT} with an answer are "
            "needed to see whether anything gets better"
        )
    ranked = sorted(held, key=lambda task: task.id)
    return TaskSet(tuple(train), tuple(ranked[::2]), tuple(ranked[1::2]))


def _task(line: str, where: str) -> tuple[LoopTask, bool]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: expected an object with task and split")
    fields: dict[str, Any] = row  # pyright: ignore[reportUnknownVariableType]
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise UsageError(
            f"{where}: field {unknown[0]!r} is not known; fields: {', '.join(sorted(_FIELDS))}"
        )
    if any(not isinstance(value, str) for value in fields.values()):
        raise UsageError(f"{where}: every field must be a text")
    split = fields.get("split", "")
    if not str(fields.get("task", "")).strip() or split not in ("train", "held_out"):
        raise UsageError(f"{where}: expected a task, and split train or held_out, not {split!r}")
    answer = str(fields.get("answer", ""))
    if split == "train" and answer:
        raise UsageError(
            f"{where}: a training task must not carry its answer: what is trained on comes from "
            "debates alone; remove `answer`, or make the split held_out"
        )
    if split == "held_out" and not answer.strip():
        raise UsageError(f"{where}: a held-out task needs its answer to be scored")
    given = {name: str(fields[name]) for name in ("context", "domain") if fields.get(name)}
    return LoopTask(str(fields["task"]), answer, **given), split == "train"
