"""Training records: both layouts, and errors that say where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aragora.errors import TrainingDataError
from aragora.training.training_records import (
    kept_records,
    read_conversations,
    read_preferences,
    read_records,
)

TURNS = [{"role": "user", "content": "5 or 7?"}, {"role": "assistant", "content": "7"}]
PAIR = {"prompt": "5 or 7?", "chosen": "7", "rejected": [{"role": "assistant", "content": "5"}]}


def test_layouts_of_other_trainers_are_understood() -> None:
    rows = [{"messages": TURNS, "provenance": {"a": 1}}, {"prompt": "5 or 7?", "completion": "7"}]
    one, other = read_conversations(rows)
    assert one == other == tuple(TURNS)
    (pair,) = read_preferences([PAIR])
    assert (pair.prompt, pair.chosen, pair.rejected) == (tuple(TURNS[:1]), "7", "5")


def test_a_job_keeps_where_its_records_came_from() -> None:
    rows = [{"messages": TURNS, "provenance": {"debate_id": "d"}, "note": 1}, PAIR]
    kept = kept_records(rows)
    assert kept[0] == {"messages": TURNS, "provenance": {"debate_id": "d"}}
    assert kept[1] == {"prompt": TURNS[:1], "chosen": "7", "rejected": "5"}
    assert read_records(kept) == read_records(rows)
    assert len(kept_records(rows, limit=1)) == 1


def test_each_training_takes_its_own_records_of_a_mixture() -> None:
    mixture = [{"messages": TURNS}, PAIR]
    found = read_records(mixture)
    assert (len(found.conversations), len(found.preferences)) == (1, 1)
    assert len(read_conversations(mixture)) == len(read_preferences(mixture)) == 1
    with pytest.raises(TrainingDataError, match="train_dpo"):
        read_conversations([PAIR])
    with pytest.raises(TrainingDataError, match="train_sft"):
        read_preferences([{"messages": TURNS}])
    with pytest.raises(TrainingDataError, match="nothing to train on"):
        read_conversations([])


def test_a_file_keeps_its_line_separators(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "a\u2028b", "completion": "c"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n\n" + json.dumps(row) + "\n")
    assert [c[0]["content"] for c in read_conversations(path)] == ["a\u2028b"] * 2
    assert len(read_conversations(path, limit=1)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: expected an object"),
        ('{"text": "x"}', "line 2: expected `messages`"),
        ('{"messages": []}', "messages: expected a list"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "must be the assistant's"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', r"messages\[0\]: expected a role"),
        ('{"prompt": "x", "chosen": "a"}', "rejected is missing"),
        ('{"prompt": "x", "chosen": "a", "rejected": "a"}', "the same text"),
        ('{"prompt": "x", "completion": " "}', "completion: expected a text"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"prompt": "x", "completion": "y"}}\n{line}\n')
    with pytest.raises(TrainingDataError, match=message):
        read_records(path)
    with pytest.raises(TrainingDataError, match="can't be read"):
        read_records(tmp_path / "absent.jsonl")
