"""Filters on rows: personal data, benchmarks, repetitions, and the set of keys behind them."""

from __future__ import annotations

from pathlib import Path

import pytest
from held_debates import hold, words
from hypothesis import given
from hypothesis import strategies as st

from aragora.errors import UsageError
from aragora.memory import Memory
from aragora.training import DPOExporter, SFTExporter
from aragora.training.exporters import keys
from aragora.training.exporters.benchmarks import Contamination, register
from aragora.training.exporters.keys import KeySet, key_of
from aragora.training.exporters.near_rows import kept_rows

RULE = "Rule: if the score is above {}, answer wait; otherwise answer go. Case: the score is {}."


def talk(asked: str, answer: str) -> dict:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "provenance": {"source": "debate"}}


def test_rows_with_personal_data_are_left_out_or_marked(memory: Memory) -> None:
    hold(memory, "Whom to ask?", [["Ask anna@example.org about it"], ["nobody"]])
    rows = DPOExporter(memory).export(min_elo_difference=0)
    assert not rows
    assert rows.report.left_out["personal data or secrets"] == 1
    assert rows.report.pii == {"email": 1}
    (marked,) = DPOExporter(memory).export(min_elo_difference=0, pii="redact")
    assert words(marked, "chosen") == "Ask [EMAIL] about it"
    assert marked["provenance"]["is_redacted"]
    (kept,) = DPOExporter(memory).export(min_elo_difference=0, pii="keep")
    assert "anna@example.org" in words(kept, "chosen")


def test_a_template_is_not_contamination_but_an_item_is() -> None:
    found = Contamination([RULE.format(10, 20), RULE.format(30, 40), "Who wrote Faust?"])
    assert found.has(RULE.format(10, 20).upper())
    assert found.has("who wrote faust")
    assert found.has(f"{RULE.format(30, 40)} Think first.")
    assert not found.has(RULE.format(50, 60))
    assert not found.has("Who wrote Emilia Galotti?")
    assert not Contamination([]).has("anything")


def test_registered_and_named_benchmarks_are_left_out(memory: Memory, tmp_path: Path) -> None:
    for asked in ("Who wrote Faust?", "Who wrote Emma?", "Who wrote Ulysses?"):
        hold(memory, asked, [["Goethe"], ["Austen"]])
    first, second = tmp_path / "one.jsonl", tmp_path / "two.csv"
    first.write_text('{"question": "Who wrote Faust?", "answer": "Goethe"}\n', "utf-8")
    second.write_text("question,answer\nWho wrote Emma?,Austen\n", "utf-8")
    register(first)
    rows = SFTExporter(memory).export(benchmarks=(second,))
    assert [r["messages"][0]["content"] for r in rows] == ["Who wrote Ulysses?"]
    assert rows.report.left_out["in a benchmark or held out"] == 2
    with pytest.raises(UsageError, match=r"benchmark .*nothing"):
        SFTExporter(memory).export(benchmarks=(tmp_path / "nothing.csv",))


def test_repetitions_go_and_near_ones_but_never_other_numbers() -> None:
    long = "The reservoir above the village was drained in spring so that the old wall was seen"
    rows = [
        talk("Why was it drained?", f"{long}."),
        talk("Why was it drained?", f"{long} again."),
        talk(RULE.format(24, 70), "wait"),
        talk(RULE.format(24, 71), "wait"),
        talk(RULE.format(24, 70), "go"),
    ]
    assert kept_rows(rows, 0.9) == [True, False, True, True, True]
    many = [talk(f"{long}, part {'i' * n}?", "yes, by all means") for n in range(1, 60)]
    assert kept_rows(many, 0.8)[0]
    assert sum(kept_rows(many, 0.8)) < len(many) / 4


def test_the_same_row_of_two_debates_is_exported_once(memory: Memory) -> None:
    hold(memory, "Which colour?", [["blue"], ["red"]])
    hold(memory, "Which  colour?", [["Blue."], ["red"]])
    rows = SFTExporter(memory).export()
    assert len(rows) == 1
    assert rows.report.left_out["a repetition"] == 1
    assert len(SFTExporter(memory).export(deduplicate=False)) == 2


@given(st.lists(st.integers(0, 2**64 - 1), max_size=200))
def test_a_key_set_is_a_set(values: list[int]) -> None:
    before = keys._LEAST_RECENT
    keys._LEAST_RECENT = 7
    try:
        mine, theirs = KeySet(), set[int]()
        for value in values:
            assert mine.add(value) == (value not in theirs)
            theirs.add(value)
            assert len(mine) == len(theirs)
        assert all(value in mine for value in values)
    finally:
        keys._LEAST_RECENT = before


def test_keys_tell_where_texts_end() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("ab") == key_of("ab")
