"""The helpdesk corpus: what its script makes, and that the committed files are what it makes."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest

HELPDESK = Path(__file__).resolve().parents[2] / "examples" / "helpdesk"
DATA = HELPDESK / "data"
QUEUES = {
    "Battery Bench",
    "Repair Barn",
    "Freight Desk",
    "App Studio",
    "Invoice Room",
    "Lock Watch",
    "Staff House",
}
Pair = tuple[str, str]


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, Any]]:
    """The example's modules, imported the way its scripts import each other."""
    names = ("phrasebook", "messages", "writers", "manual", "make_corpus", "measure")
    sys.path.insert(0, str(HELPDESK))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(HELPDESK))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def pairs(modules: dict[str, Any]) -> dict[str, list[Pair]]:
    """The committed questions and answers, by file."""
    return {**modules["measure"].read_pairs(), "manual.pdf": modules["measure"].read_manual()}


def test_script_reproduces_the_committed_text_files(
    modules: dict[str, Any], tmp_path: Path
) -> None:
    writers, make_corpus = modules["writers"], modules["make_corpus"]
    cases = make_corpus.make_cases()
    dice = modules["phrasebook"].Dice(make_corpus.SEED + 1)
    writers.write_tickets(tmp_path / "tickets.csv", cases["tickets.csv"], dice)
    writers.write_chats(tmp_path / "chats.jsonl", cases["chats.jsonl"], dice)
    writers.write_faq_markdown(tmp_path / "faq.md", cases["faq.md"])
    writers.write_faq_text(tmp_path / "hotline.txt", cases["hotline.txt"])
    writers.write_broken_bulletin(tmp_path / "bulletin_2019.pdf")
    for made in sorted(tmp_path.iterdir()):
        assert made.read_bytes() == (DATA / made.name).read_bytes(), made.name


def test_script_reproduces_history_and_manual(modules: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("reportlab", reason="reportlab, which makes the manual, is not installed")
    import polars

    modules["make_corpus"].write_corpus(tmp_path)
    # Another release of polars or reportlab may lay the same content out in other bytes.
    made = polars.read_parquet(tmp_path / "history.parquet")
    assert made.equals(polars.read_parquet(DATA / "history.parquet"))
    read_manual = modules["measure"].read_manual
    assert read_manual(tmp_path / "manual.pdf") == read_manual(DATA / "manual.pdf")


def test_two_runs_write_the_same_bytes(modules: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("reportlab", reason="reportlab, which makes the manual, is not installed")
    for run in ("one", "two"):
        modules["make_corpus"].write_corpus(tmp_path / run)
    for first in sorted((tmp_path / "one").iterdir()):
        assert first.read_bytes() == (tmp_path / "two" / first.name).read_bytes(), first.name


def test_every_file_holds_what_the_readme_says(pairs: dict[str, list[Pair]]) -> None:
    readme = (HELPDESK / "README.md").read_text(encoding="utf-8")
    stated = {
        name: int(count.replace(",", ""))
        for name, count in re.findall(r"^\| `([\w.]+)` \|.*\| ([\d,]+)", readme, flags=re.MULTILINE)
    }
    different = {name: len(set(each)) for name, each in pairs.items()}
    assert different == {name: count for name, count in stated.items() if count}
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3_000_000


def test_manual_stays_readable_through_pypdfium2(
    modules: dict[str, Any], pairs: dict[str, list[Pair]]
) -> None:
    printed = [
        (case.question, case.answer) for case in modules["make_corpus"].make_cases()["manual.pdf"]
    ]
    assert pairs["manual.pdf"] == printed


def test_answers_are_the_seven_queues_none_of_them_rare(pairs: dict[str, list[Pair]]) -> None:
    sizes = Counter(answer for each in pairs.values() for _, answer in each)
    assert set(sizes) == QUEUES
    assert min(sizes.values()) > 0.08 * sizes.total()
    assert max(sizes.values()) < 0.25 * sizes.total()


def test_each_message_stands_in_one_file_only(pairs: dict[str, list[Pair]]) -> None:
    messages = [message for each in pairs.values() for message in {m for m, _ in each}]
    assert len(messages) == len(set(messages))


def test_contact_data_is_fictional(pairs: dict[str, list[Pair]]) -> None:
    text = "\n".join(message for each in pairs.values() for message, _ in each)
    addresses = re.findall(r"\S+@\S+", text)
    assert addresses
    # A slip of the fingers may fall into the domain: one letter more, less, other or swapped.
    for address in addresses:
        domain = address.lower().rstrip(".,!?").split("@")[1]
        alike = SequenceMatcher(None, domain, "example.com").ratio()
        assert alike > 0.85, address
    for number in re.findall(r"\b\d[\d -]{5,}\d\b", text):
        assert number.startswith("555-01"), number
    assert not re.search(r"\b[A-Z]{2}\d{2}(?: ?\w{4}){3,}", text), "looks like an account number"


def test_words_decide_the_queue_but_no_single_keyword_does(
    modules: dict[str, Any], pairs: dict[str, list[Pair]]
) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    every = [pair for each in pairs.values() for pair in each]
    bag_of_words = modules["measure"].bag_of_words_accuracy(every)
    keyword = modules["measure"].keyword_accuracy(every)
    print(f"bag of words {bag_of_words:.3f}, one keyword per queue {keyword:.3f}")
    assert bag_of_words >= 0.93
    assert keyword <= 0.75


def test_near_duplicates_are_few(modules: dict[str, Any], pairs: dict[str, list[Pair]]) -> None:
    messages = sorted({message for each in pairs.values() for message, _ in each})
    assert modules["measure"].near_duplicates(messages) < 0.02 * len(messages)


def test_expand_makes_every_choice_and_fills_every_slot(modules: dict[str, Any]) -> None:
    phrasebook = modules["phrasebook"]
    seen = {
        phrasebook.expand("a {b|{c|d}|} <slot>.", {"slot": "{x|y}"}, phrasebook.Dice(seed))
        for seed in range(200)
    }
    assert seen == {f"a {left}{right}." for left in ("b ", "c ", "d ", "") for right in "xy"}


def test_expand_refuses_a_slot_that_the_case_lacks(modules: dict[str, Any]) -> None:
    phrasebook = modules["phrasebook"]
    with pytest.raises(KeyError, match="colour"):
        phrasebook.expand("a <colour> bike", {}, phrasebook.Dice(0))
