"""Files of rows: whole or absent, registered, paged, replayed; and the commands."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from held_debates import hold, rate, words
from typer.testing import CliRunner

from aragora.cli import application
from aragora.cli.training import main
from aragora.errors import UsageError
from aragora.memory import Memory
from aragora.training import DPOExporter, JobStatus, SFTExporter
from aragora.training.job_records import JobSettings, TrainingJob
from aragora.training.job_work import export_part

COLOURS = ("blue", "red", "green", "white", "black", "pink", "brown", "grey", "amber", "cyan")


def fill(memory: Memory, first: int = 0, last: int = len(COLOURS)) -> None:
    for colour in COLOURS[first:last]:
        other = "violet" if colour != "violet" else "blue"
        hold(memory, f"Which colour is {colour} like?", [[colour], [other]], subjects=(colour,))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_file_is_registered_carded_and_named_when_a_person_is_removed(
    memory: Memory, tmp_path: Path
) -> None:
    fill(memory, last=3)
    export = SFTExporter(memory).write(tmp_path / "out" / "sft.jsonl")
    (file,) = export.files
    rows = lines(file.path)
    assert len(rows) == file.rows == export.report.rows == 3
    assert file.digest == hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert file.digest in file.card.read_text("utf-8")
    assert "blue" not in file.card.read_text("utf-8")
    deletion = memory.usage.delete_subject("blue")
    assert deletion.training_sets == [file.training_set_id]
    assert sorted(p.name for p in file.path.parent.iterdir()) == ["sft.card.md", "sft.jsonl"]


def test_rows_that_are_trained_on_are_registered_as_a_file_of_them(
    memory: Memory, tmp_path: Path
) -> None:
    fill(memory, last=3)
    job = TrainingJob("j", "sft", "nano", "", JobSettings(), JobStatus.PENDING, 0, 0.0)
    rows, told = export_part(memory, "sft", job)
    (file,) = SFTExporter(memory).write(tmp_path / "sft.jsonl").files
    assert rows == lines(file.path)
    made = memory.usage.training_sets_of([rows[0]["provenance"]["debate_id"]])
    assert len(made) == 2
    assert {one.digest for one in made} == {file.digest}
    assert made[0].id in told
    assert made[0].id in memory.usage.delete_subject("blue").training_sets


def test_without_rows_there_is_no_file(memory: Memory, tmp_path: Path) -> None:
    export = DPOExporter(memory).write(tmp_path / "dpo.jsonl")
    assert export.files == ()
    assert not list(tmp_path.glob("*dpo*"))


def test_parquet_holds_the_same_rows(memory: Memory, tmp_path: Path) -> None:
    fill(memory, last=3)
    SFTExporter(memory).write(tmp_path / "a.jsonl")
    SFTExporter(memory).write(tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").to_dicts() == lines(tmp_path / "a.jsonl")


def test_pages_cover_everything_once(memory: Memory) -> None:
    fill(memory)
    whole = list(SFTExporter(memory).stream())
    found, after = [], ""
    while True:
        page = SFTExporter(memory).export(limit=3, after=after)
        found += page
        if page.report.next_after is None:
            break
        after = page.report.next_after
    assert found == whole
    assert len(whole) == len(COLOURS)


def test_a_limit_ends_the_reading(memory: Memory) -> None:
    fill(memory, last=3)
    for number in range(4):
        hold(memory, f"Which size is {number}?", [["small"], ["large"]], confidence=0.5)
    report = SFTExporter(memory).export(limit=3).report
    assert (report.rows, report.records_read) == (3, 4)


def test_a_page_gets_on_beside_patterns(memory: Memory) -> None:
    rate(memory, domain="reading", bob=1700.0, cem=1700.0, dan=1700.0)
    said = [["Answer: blue"], ["The sky.\nAnswer: blue"], ["The sea.\nAnswer: blue"], ["red"]]
    stored = hold(memory, "Which colour?", said, critique=True)
    for number in range(3):
        judged = replace(stored.critiques[0], issue=f"flaw {number}", suggestion="m", improved=True)
        memory.standings.count_pattern(judged, "reading", time.time())
    for limit in (1, 5):
        report = SFTExporter(memory).export(limit=limit, near_duplicates=1.0).report
        assert report.next_after != ""
        assert report.by_source.get("pattern", 0) <= limit // 5


def test_replay_is_not_ignored_where_it_can_t_be_done(memory: Memory, tmp_path: Path) -> None:
    for ask in (SFTExporter(memory).export, lambda **o: list(SFTExporter(memory).stream(**o))):
        with pytest.raises(UsageError, match="replay"):
            ask(replay=(tmp_path / "old.jsonl",))


def test_a_fifth_is_replayed_without_what_was_removed(memory: Memory, tmp_path: Path) -> None:
    fill(memory, last=5)
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    SFTExporter(memory).write(old)
    cut = lines(old)[-1]["provenance"]["at"]
    fill(memory, first=5)
    memory.usage.delete_subject("blue")
    since = {"since": cut + 0.001}
    export = SFTExporter(memory).write(new, replay=(old,), replay_share=0.4, **since)
    rows = lines(new)
    replayed = [r for r in rows if r["provenance"]["is_replayed"]]
    assert len(replayed) == export.report.replayed == 3
    assert len(rows) == 8
    assert not any("blue" in r["messages"][0]["content"] for r in replayed)
    assert export.report.left_out["an earlier row of a removed debate"] == 1
    again = tmp_path / "again.jsonl"
    SFTExporter(memory).write(again, replay=(old,), replay_share=0.4, **since)
    assert again.read_bytes() == new.read_bytes()


def test_earlier_rows_pass_the_filters_of_today(memory: Memory, tmp_path: Path) -> None:
    old, new, marked = (tmp_path / name for name in ("old.jsonl", "new.jsonl", "marked.jsonl"))
    hold(memory, "Whom to ask?", [["Ask anna@example.org about it"], ["nobody"]])
    hold(memory, "Who wrote Faust?", [["Goethe"], ["Austen"]])
    hold(memory, "Which colour?", [["blue"], ["red"]], split="held_out")
    everything: dict[str, Any] = {"pii": "keep", "splits": ("train", "held_out")}
    assert SFTExporter(memory).write(old, **everything).report.rows == 3
    fill(memory, last=8)
    faust = tmp_path / "faust.jsonl"
    faust.write_text('{"question": "Who wrote Faust?", "answer": "Goethe"}\n', "utf-8")
    fresh: dict[str, Any] = {"replay": (old,), "replay_share": 0.5, "benchmarks": (faust,)}
    report = SFTExporter(memory).write(new, **fresh).report
    assert "anna@example.org" not in new.read_text("utf-8")
    assert report.replayed == 0
    assert report.left_out["an earlier row with personal data or secrets"] == 1
    assert report.left_out["an earlier row in a benchmark or held out"] == 2
    since = {"since": lines(new)[2]["provenance"]["at"] - 1e-6}
    SFTExporter(memory).write(marked, pii="redact", **fresh, **since)
    (row,) = (r for r in lines(marked) if r["provenance"]["is_replayed"])
    assert words(row, "messages") == "Ask [EMAIL] about it"
    assert row["provenance"]["is_redacted"]


def test_a_file_that_is_no_export_is_not_replayed(memory: Memory, tmp_path: Path) -> None:
    fill(memory, last=1)
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"messages": []}\n', "utf-8")
    with pytest.raises(UsageError, match=r"wrong.jsonl, line 1: not a row"):
        SFTExporter(memory).write(tmp_path / "x.jsonl", replay=(wrong,))
    assert not list(tmp_path.glob("*x.jsonl*"))


def test_commands_write_files_and_explain_empty_ones(memory: Memory, tmp_path: Path) -> None:
    url = memory.url
    run = CliRunner()
    empty = run.invoke(
        application(),
        ["training", "export-dpo", "-o", str(tmp_path / "d.jsonl"), "--database", url],
    )
    assert empty.exit_code == 1
    assert "0  debates in the database" in empty.output
    fill(memory, last=3)
    folder = tmp_path / "all"
    done = run.invoke(
        application(),
        ["training", "export-all", "-d", str(folder), "--min-elo-diff", "0", "--database", url],
    )
    assert done.exit_code == 0, done.output
    assert {p.name for p in folder.glob("*.jsonl")} == {"sft_data.jsonl", "dpo_data.jsonl"}
    assert {words(r, "rejected") for r in lines(folder / "dpo_data.jsonl")} == {"violet"}
    told = run.invoke(application(), ["training", "stats", "--json", "--database", url])
    assert json.loads(told.output)["splits"] == {"train": 3}
    paged = run.invoke(
        application(),
        [
            "training", "export-sft", "-o", str(tmp_path / "s.jsonl"), "--limit", "2", "--json",
            "--database", url,
        ],
    )  # fmt: skip
    assert "--after" in paged.output


def test_the_group_is_a_program_of_its_own(
    memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["export-sft", "--pii", "perhaps", "--database", memory.url])
    assert left.value.code == 2
    assert "pii" in capsys.readouterr().err
