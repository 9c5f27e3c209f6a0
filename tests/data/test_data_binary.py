"""Walking folders; PDF and Parquet on real and on broken files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tensafe.data import Example, ReadOptions, Unreadable, analyze_data, extract, find_files
from tensafe.errors import DataError


def read(path: Path) -> tuple[list[Example], list[Unreadable]]:
    (file,) = find_files(path).files
    items = list(extract(file, ReadOptions()).items)
    examples = [item for item in items if isinstance(item, Example)]
    return examples, [item for item in items if isinstance(item, Unreadable)]


def test_folders_are_walked_in_order_and_the_rest_is_named(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("question,answer\nSecret?,yes\n")
    root = tmp_path / "root"
    (root / "b" / "deep").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("z.txt", "b/deep/a.CSV", "b/c.jsonl", ".hidden/x.csv", "photo.png", "Makefile"):
        (root / name).write_text("x")
    (root / "link.csv").symlink_to(outside)
    (root / "dangling.csv").symlink_to(tmp_path / "nowhere.csv")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.csv")
    walk = find_files(root)
    assert [file.name for file in walk.files] == ["b/c.jsonl", "b/deep/a.CSV", "z.txt"]
    assert [part.source for part in walk.left_out] == [
        "Makefile", "dangling.csv", "link.csv", "loop", "photo.png", "pipe.csv",
    ]  # fmt: skip
    assert all(part.reason and part.advice for part in walk.left_out)


def test_a_missing_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find_files(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.pdf", "empty file"),
        ("password-example.pdf", "password-protected"),
        ("malformed-from-issue-932.pdf", "nearly empty: 7 characters"),
    ],
)
def test_bad_pdfs_are_named_as_what_they_are(shared_data: Path, name: str, reason: str) -> None:
    examples, problems = read(shared_data / "pdf" / name)
    assert examples == []
    assert reason in problems[0].reason
    assert problems[0].advice


def test_real_pdfs_are_read(shared_data: Path) -> None:
    examples, problems = read(shared_data / "pdf" / "federal-register-2020-17221.pdf")
    assert not problems
    # Page 8 is a picture: nothing stands on it but the running heads.
    assert len({example.place for example in examples}) == 14
    # On page 1 the foot is glued to a line of text; elsewhere it stands alone and is removed.
    assert {e.place for e in examples if "VerDate" in e.reference} <= {"page 1"}
    text = " ".join(example.reference for example in examples)
    assert "\r" not in text
    assert "Airworthiness Directives" in text
    french, _ = read(shared_data / "pdf" / "2023-06-20-PV.pdf")
    assert any("procès-verbal".upper() in example.reference for example in french)


def test_every_parquet_file_is_read_or_explained(shared_data: Path) -> None:
    analysis = analyze_data(shared_data / "parquet" / "data")
    by_name = {file.name: file for file in analysis.files}
    assert len(by_name) == 65
    for file in analysis.files:
        assert file.records or file.unreadable, file.name
        assert all(part.reason and part.advice for part in file.unreadable)
    bomb = by_name["large_string_map.brotli.parquet"]
    assert "a map" in bomb.unreadable[0].reason
    partly = by_name["byte_stream_split_extended.gzip.parquet"]
    assert partly.records == 200
    assert partly.unreadable[0].place.startswith("column ")
    numbers = by_name["delta_binary_packed.parquet"]
    assert numbers.unreadable[0].reason.startswith("no text: its 66 readable columns")
    schema = by_name["incorrect_map_schema.parquet"]
    assert "schema can't be read" in schema.unreadable[0].reason


def test_parquet_with_nested_chats_and_labels(tmp_path: Path) -> None:
    chats = [
        [
            {"role": "user", "content": f"Question {i}"},
            {"role": "assistant", "content": f"Answer {i}"},
        ]
        for i in range(5000)
    ]
    pl.DataFrame({"id": range(5000), "messages": chats}).write_parquet(tmp_path / "chats.parquet")
    examples, problems = read(tmp_path / "chats.parquet")
    assert [e.reference for e in examples] == [f"Answer {i}" for i in range(5000)]
    assert not problems
    frame = pl.DataFrame({"text": [f"some message number {i}" for i in range(40)]})
    frame = frame.with_columns(pl.Series("label", [i % 3 for i in range(40)]))
    frame.write_parquet(tmp_path / "labels.parquet")
    examples, _ = read(tmp_path / "labels.parquet")
    assert examples[4].reference == "1"


def test_a_cut_off_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pl.DataFrame({"question": ["a b c?"] * 9, "answer": ["d"] * 9}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    examples, problems = read(path)
    assert examples == []
    assert problems[0].reason


EXPECTED_MAPPINGS = {
    "tables/banking77/train.csv": ("question = 'text', answer = 'category'", 10003),
    "tables/banking7/train.csv": ("question = 'text', answer = 'department'", 10003),
    "tables/gsm8k/train.jsonl": ("question = 'question', answer = 'answer'", 7473),
    "tables/covid_faq/faq_200327.tsv": ("question = 'question', answer = 'answer'", 896),
    "tables/covid_faq/faq_covidbert.csv": ("question = 'question', answer = 'answer'", 213),
    "tables/xquad/xquad.en.json": ("answer = 'answers', context = 'context'", 1190),
    "safety/xstest/xstest_v2_completions_llama2orig.csv": ("question = 'prompt'", 450),
    "safety/advbench/harmful_behaviors_first120.csv": ("answer = 'target'", 120),
}


@pytest.mark.parametrize("name", EXPECTED_MAPPINGS)
def test_mappings_of_real_files(shared_data: Path, name: str) -> None:
    words, records = EXPECTED_MAPPINGS[name]
    (file,) = analyze_data(shared_data / name).files
    assert words in file.mapping
    assert file.records == records
    assert not file.unreadable


def test_real_preference_data_is_recognised(shared_data: Path) -> None:
    folder = shared_data / "preference" / "ukp_convincing_arguments"
    file = next(f for f in analyze_data(folder).files if f.name.endswith(".csv"))
    assert file.examples == {}
    assert "preference" in file.mapping


def test_importing_data_is_light() -> None:
    code = (
        "import sys, tensafe.data, tensafe.curate; "
        "print([m for m in ('torch', 'polars', 'pypdfium2', 'rensa', 'ftfy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
