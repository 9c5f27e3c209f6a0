"""The task file: no key can reach what is trained on, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aragora.errors import UsageError
from aragora.loop import read_tasks
from aragora.loop.demo_tasks import make_tasks, write_rows


def held(count: int = 12) -> list[dict[str, str]]:
    return [{"task": f"{n} + 1?", "answer": str(n + 1), "split": "held_out"} for n in range(count)]


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"task": "2 + 2?", "answer": "4", "split": "train"}, "must not carry its answer"),
        ({"task": "2 + 200?", "split": "held_out"}, "needs its answer"),
        ({"task": "3 + 1?", "split": "train"}, "the same task stands in line 4"),
        ({"task": "x?", "split": "test"}, "split train or held_out"),
        ({"task": "x?", "split": "train", "key": "4"}, "'key' is not known"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(
    tmp_path: Path, row: dict[str, str], words: str
) -> None:
    path = written(tmp_path / "tasks.jsonl", [*held(), row])
    with pytest.raises(UsageError, match="line 13") as error:
        read_tasks(path)
    assert words in str(error.value)


def test_too_little_to_measure_with_is_refused(tmp_path: Path) -> None:
    rows = [*held(11), {"task": "x?", "split": "train"}]
    with pytest.raises(UsageError, match="11 held-out tasks"):
        read_tasks(written(tmp_path / "tasks.jsonl", rows))


def test_every_training_task_is_dealt_into_one_round(tmp_path: Path) -> None:
    rows = [*held(), *({"task": f"task {n}", "split": "train"} for n in range(10))]
    tasks = read_tasks(written(tmp_path / "tasks.jsonl", rows))
    dealt = [task.task for number in (1, 2, 3) for task in tasks.of_round(number, 3)]
    assert sorted(dealt) == sorted(task.task for task in tasks.train)
    assert {t.task for t in tasks.check}.isdisjoint(t.task for t in tasks.test)
    assert len(tasks.check) == len(tasks.test) == 6


def test_made_tasks_are_the_same_for_a_seed_and_never_overlap(tmp_path: Path) -> None:
    rows, keys = make_tasks(3, 30, 20)
    assert (rows, keys) == make_tasks(3, 30, 20)
    assert [r for r in make_tasks(3, 60, 20)[0] if r["split"] == "held_out"] == rows[:20]
    write_rows(tmp_path / "tasks.jsonl", rows)
    tasks = read_tasks(tmp_path / "tasks.jsonl")
    assert len(tasks.train) == 30
    assert all(task.answer == "" for task in tasks.train)
    assert {k["task"] for k in keys} == {t.task for t in tasks.train}
