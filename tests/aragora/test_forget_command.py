"""`aragora forget`: what is named goes and nothing else, and what learned from it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_memory import write_debate

from aragora.cli import main
from aragora.memory import DebateFilter, Memory
from aragora.memory.records import TrainingSet, TrainingSource


def forget(capsys: pytest.CaptureFixture[str], memory: Memory, *words: str) -> tuple[int, Any]:
    code: Any = 0
    try:
        main(["forget", *words, "--database", memory.url])
    except SystemExit as ended:
        code = ended.code or 0
    out, err = capsys.readouterr()
    return int(code), out or err


def test_a_persons_debates_go_and_their_training_sets_are_named(
    memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    hers, said, _ = write_debate(memory)
    other, _, _ = write_debate(memory)
    made = TrainingSet("set-1", "sft", "a" * 64, 7, {}, 1.0)
    source = TrainingSource("set-1", 0, "completion", "message", str(said[3].id), hers)
    memory.usage.add_training_set(made, [source])
    memory.usage.link("jo@example.net", hers)
    would = "1 debates would be removed\nused by training set set-1 (sft, 7 rows, aaaaaaaaaaaa)\n"
    assert forget(capsys, memory, "--subject", "Jo@example.net", "--dry-run") == (0, would)
    assert memory.debates.get(hers).debate.id == hers
    code, told = forget(capsys, memory, "--subject", "jo@example.net", "--json")
    facts = json.loads(told)
    assert (code, facts["debates"], facts["removed"]) == (0, 1, True)
    assert [one["id"] for one in facts["sets"]] == ["set-1"]
    assert memory.usage.debates_before(1e12) == [other]
    assert forget(capsys, memory, "--subject", "jo@example.net")[1].startswith("0 debates removed")


def test_named_and_old_debates_go(memory: Memory, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (write_debate(memory)[0] for _ in range(2))
    code, told = forget(capsys, memory, "--debate", first, "--debate", "0" * 32)
    assert code != 0
    assert "0" * 32 in told
    assert set(memory.usage.debates_before(1e12)) == {first, second}
    assert forget(capsys, memory, "--debate", first) == (0, "1 debates removed\n")
    assert forget(capsys, memory, "--before", "2020-01-01") == (0, "0 debates removed\n")
    assert forget(capsys, memory, "--before", "2999-01-01") == (0, "1 debates removed\n")
    assert memory.debates.count(DebateFilter()) == 0


@pytest.mark.parametrize(
    "words", [(), ("--subject", "jo", "--before", "2020-01-01"), ("--before", "yesterday")]
)
def test_unclear_calls_remove_nothing(
    words: tuple[str, ...], memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    write_debate(memory)
    assert forget(capsys, memory, *words)[0] == 2
    assert memory.debates.count(DebateFilter()) == 1
