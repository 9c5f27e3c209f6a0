"""The curriculum shares no label, template or run of words with what is measured later."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tinker_engine.base.curriculum import generate, labels, templates
from tinker_engine.base.curriculum.example import expand

RUN = 8
HELPDESK = Path(__file__).resolve().parents[3] / "examples" / "helpdesk"
DEPARTMENTS = ("cards", "payments", "transfers", "top ups", "cash desk", "currency", "identity")


def plain(text: str) -> str:
    """Lower case words and figures; spelling styles of labels fall together."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.sub(r"[^a-z0-9]+", " ", spaced.lower()).strip()


def joined(text: str) -> str:
    return plain(text).replace(" ", "")


def runs(text: str) -> set[str]:
    words = plain(text).split()
    return {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


def all_runs(texts: Iterable[str]) -> set[str]:
    return {run for text in texts for run in runs(text)}


@cache
def curriculum_runs() -> set[str]:
    return all_runs(m["content"] for e in generate(21, 20_000) for m in e.messages)


@cache
def template_runs() -> set[str]:
    rng = random.Random(4)
    return all_runs(expand(t, rng) for t in templates() for _ in range(20))


def banking_texts(shared_data: Path) -> list[str]:
    table = shared_data / "tables" / "banking77" / "train.csv"
    if not table.exists():
        pytest.skip("the banking77 table is absent from the shared data")
    with table.open(encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def helpdesk_texts() -> list[str]:
    if not HELPDESK.is_dir():
        pytest.skip("examples/helpdesk is absent")
    kinds = (".csv", ".jsonl", ".md", ".txt", ".py")
    files = [f for f in sorted(HELPDESK.rglob("*")) if f.suffix in kinds]
    return [line for f in files for line in f.read_text("utf-8", "ignore").splitlines()]


def test_no_label_of_the_banking_intents(shared_data: Path) -> None:
    names = json.loads((shared_data / "tables" / "banking77" / "categories.json").read_text())
    assert not {joined(n) for n in [*names, *DEPARTMENTS]} & {joined(n) for n in labels()}


def test_no_run_of_words_of_the_banking_messages(shared_data: Path) -> None:
    theirs = all_runs(banking_texts(shared_data))
    assert not theirs & curriculum_runs()
    assert not theirs & template_runs()


def test_no_template_is_a_banking_message(shared_data: Path) -> None:
    assert not {plain(t) for t in banking_texts(shared_data)} & {plain(t) for t in templates()}


def test_no_label_of_the_helpdesk() -> None:
    helpdesk_texts()
    chats = (HELPDESK / "data" / "chats.jsonl").read_text("utf-8", "ignore")
    # Matched, not parsed: the file holds broken lines on purpose.
    teams = set(re.findall(r'"assistant", "content": "([^"]+)"', chats))
    teams |= {f.stem for f in (HELPDESK / "phrases").glob("*.txt")}
    assert teams
    assert not {joined(t) for t in teams} & {joined(n) for n in labels()}


def test_no_run_of_words_of_the_helpdesk() -> None:
    theirs = all_runs(helpdesk_texts())
    assert not theirs & curriculum_runs()
    assert not theirs & template_runs()


def test_no_template_is_a_line_of_the_helpdesk() -> None:
    ours = {plain(t) for t in templates() if len(plain(t).split()) > 2}
    assert not {plain(t) for t in helpdesk_texts()} & ours
