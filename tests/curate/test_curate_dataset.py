"""What curation drops and keeps, how it reports, and the folder it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from tensafe.curate import CurationConfig, curate_dataset, read_dataset, write_dataset
from tensafe.data.records import Dataset, Example
from tensafe.errors import DataError, NothingToTrainError, UsageError


def write(folder: Path, *rows: tuple[str, str], name: str = "data.jsonl") -> Path:
    records = [{"question": question, "answer": answer} for question, answer in rows]
    path = folder / name
    path.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    return path


def pairs(dataset: Dataset) -> set[tuple[str, str]]:
    return {(e.prompt[-1]["content"], e.reference) for e in (*dataset.train, *dataset.test)}


def test_cleaning(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("  cafe\u0301\u0000 open?\r\n\r\n\r\n\r\n\r\n ", "yes\u0007 \t\n"),
        ("OÃ¹ est lâ€™hÃ´tel?", "ici"),
        ("\ud800 lone?", "surrogate"),
        ("\u200b \ufeff?", "\u0000"),
    )
    dataset = curate_dataset(path)
    assert pairs(dataset) == {
        ("café open?", "yes"),
        ("Où est l’hôtel?", "ici"),
        ("\ufffd lone?", "surrogate"),
    }
    assert dataset.report.dropped == {"no answer after cleaning": 1}
    assert any("wrong decoding undone" in note for note in dataset.report.notes)


def test_repeats_keep_the_most_frequent_wording(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("What time is it?", "Noon."),
        ("what time is it", "noon"),
        ("What time is it?", "Noon."),
        ("Another one?", "Yes"),
    )
    dataset = curate_dataset(path)
    assert pairs(dataset) == {("What time is it?", "Noon."), ("Another one?", "Yes")}
    assert dataset.report.dropped == {
        "exact duplicate": 1,
        "duplicate but for case, spacing or punctuation": 1,
    }


LABELLED = [
    (f"message number {i} about {'abcdefghij'[i % 10] * 5}", "xy"[i % 2]) for i in range(40)
]


@pytest.mark.parametrize(
    ("rule", "left"),
    [("majority", {"x"}), ("keep", {"x", "y"}), ("drop", set())],
)
def test_contradictory_labels(tmp_path: Path, rule: str, left: set[str]) -> None:
    rival = "which one is it then"
    path = write(tmp_path, *LABELLED, (rival, "x"), (rival.upper(), "x"), (rival, "y"))
    dataset = curate_dataset(path, CurationConfig(contradictions=rule))  # type: ignore[arg-type]
    assert {answer for question, answer in pairs(dataset) if question.lower() == rival} == left
    assert any("1 questions have more than one answer" in note for note in dataset.report.notes)


def test_ties_between_labels_are_dropped(tmp_path: Path) -> None:
    path = write(tmp_path, *LABELLED, ("torn", "x"), ("torn", "y"))
    dataset = curate_dataset(path)
    assert not [question for question, _ in pairs(dataset) if question == "torn"]
    assert dataset.report.dropped == {"same question with another label": 2}


def test_different_free_text_answers_stay_together(tmp_path: Path) -> None:
    answers = [f"A long answer of its own kind, number {word}." for word in ("one", "two", "three")]
    path = write(tmp_path, *[("Why?", answer) for answer in answers], *LABELLED)
    dataset = curate_dataset(path)
    sides = [side for side in (dataset.train, dataset.test) for e in side if len(e.reference) > 9]
    assert len(sides) == 3
    assert all(side is sides[0] for side in sides)


def test_provenance_and_report(tmp_path: Path) -> None:
    write(tmp_path, *LABELLED)
    (tmp_path / "broken.pdf").write_bytes(b"")
    (tmp_path / "photo.png").write_bytes(b"x")
    report = curate_dataset(tmp_path).report
    assert report.files_read == 1
    assert report.kept_by_source == {"data.jsonl": 40}
    assert "question = 'question'" in report.mappings["data.jsonl"]
    assert {part.source for part in report.unreadable} == {"broken.pdf", "photo.png"}


def test_named_columns_must_exist(tmp_path: Path) -> None:
    path = write(tmp_path, *LABELLED)
    with pytest.raises(UsageError, match=r"no column is called 'queue'; .*question, answer"):
        curate_dataset(path, CurationConfig(answer_column="queue"))


def test_nothing_to_train_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"")
    write(tmp_path, ("", "only an answer"), ("x", ""))
    with pytest.raises(NothingToTrainError) as caught:
        curate_dataset(tmp_path)
    message = str(caught.value)
    assert "broken.pdf: empty file" in message
    assert "1 rows: no question" in message
    with pytest.raises(DataError, match="no such file"):
        curate_dataset(tmp_path / "absent")


def test_one_example_is_all_training(tmp_path: Path) -> None:
    dataset = curate_dataset(write(tmp_path, ("Only?", "One")))
    assert (len(dataset.train), len(dataset.test)) == (1, 0)
    assert any("nothing could be held out" in note for note in dataset.report.notes)


def test_config_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError):
        CurationConfig(test_shares=0.2)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        CurationConfig(test_share=1.0)
    assert all(field.description for field in CurationConfig.model_fields.values())


def test_a_dataset_folder_round_trips(tmp_path: Path) -> None:
    odd = [("Line\u2028separator\nand newline?", "naïve 日本 \u0085 ok")]
    dataset = curate_dataset(write(tmp_path, *LABELLED, *odd))
    folder = tmp_path / "set"
    write_dataset(dataset, folder)
    assert read_dataset(folder) == dataset
    first = json.loads((folder / "train.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert [turn["role"] for turn in first["messages"]] == ["user", "assistant"]
    assert set(first) == {"messages", "kind", "source", "place", "group"}
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["train"]["digest"] == dataset.train_digest
    assert "message number" not in (folder / "card.json").read_text(encoding="utf-8")


def test_a_changed_or_unfinished_folder_is_refused(tmp_path: Path) -> None:
    dataset = curate_dataset(write(tmp_path, *LABELLED))
    folder = tmp_path / "set"
    write_dataset(dataset, folder)
    text = (folder / "test.jsonl").read_text(encoding="utf-8")
    (folder / "test.jsonl").write_text(
        text.replace("message number", "massage number", 1), encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"not what card\.json says"):
        read_dataset(folder)
    (folder / "test.jsonl").write_text(text + "{}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.jsonl: line \d+"):
        read_dataset(folder)
    (folder / "card.json").unlink()
    with pytest.raises(DataError, match="not a finished data set"):
        read_dataset(folder)


def test_a_curated_folder_can_be_curated_again(tmp_path: Path) -> None:
    dataset = curate_dataset(write(tmp_path, *LABELLED))
    write_dataset(dataset, tmp_path / "set")
    again = curate_dataset(tmp_path / "set" / "train.jsonl")
    assert {e.digest for e in (*again.train, *again.test)} == {e.digest for e in dataset.train}


def test_analyze_command(tmp_path: Path) -> None:
    write(tmp_path, *LABELLED)
    (tmp_path / "broken.pdf").write_bytes(b"")
    code = (
        "import typer; from tensafe.cli.analyze import register; "
        "app = typer.Typer(); register(app); app()"
    )
    shown, machine = (
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), *extra],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for extra in ([], ["--json"])
    )
    assert "question = 'question', answer = 'answer'" in shown
    assert "empty file (0 bytes)" in shown
    value = json.loads(machine)
    assert value["examples"] == {"qa": 40}
    assert value["formats"] == {"JSONL": 1, "PDF": 1}
    assert value["estimated_tokens"] > 0


def test_examples_end_with_the_learned_turn(shared_data: Path) -> None:
    dataset = curate_dataset(shared_data / "tables" / "banking77" / "train.csv")
    example: Example = dataset.train[0]
    assert [turn["role"] for turn in example.messages] == ["user", "assistant"]
    assert len(dataset.train) + len(dataset.test) == 9996
    assert (
        len({e.reference for e in dataset.train}) == len({e.reference for e in dataset.test}) == 77
    )
