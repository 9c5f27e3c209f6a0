"""Laws of the split: nothing shared, nothing lost, the same whatever the order and the names."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensafe.curate import CurationConfig, curate_dataset
from tensafe.curate.near import Clusters, jaccard, join_near, pairs_across, shingles, similarity
from tensafe.curate.similarity_text import comparison_texts
from tensafe.curate.split import split_clusters
from tensafe.curate.text import plain
from tensafe.data.records import Dataset, Example

WORDS = [
    "card",
    "bank",
    "cash",
    "transfer",
    "refund",
    "pin",
    "lost",
    "money",
    "where",
    "when",
    "how",
    "fee",
    "limit",
    "late",
    "10",
    "25",
]
SLOW = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Row = tuple[str, str, str]


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Rows of context, question and answer, with typing errors, repeats and shared passages."""
    seed = draw(st.integers(0, 2**32))
    rng = random.Random(seed)
    rows: list[Row] = []
    for _ in range(draw(st.integers(1, 60))):
        if rows and rng.random() < 0.3:
            context, question, answer = rng.choice(rows)
            position = rng.randrange(len(question))
            rows.append((context, question[:position] + "x" + question[position:], answer))
        else:
            question = " ".join(rng.choices(WORDS, k=rng.randint(4, 16)))
            passage = rng.choice(["", "", "The bank is open.", "The card is blue."])
            rows.append((passage, question, rng.choice(["yes", "no", f"answer {rng.random()}"])))
    return rows


def write(folder: Path, rows: Sequence[Row], name: str = "data.jsonl") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    records = [dict(zip(("context", "question", "answer"), row, strict=True)) for row in rows]
    (folder / name).write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")


def both(dataset: Dataset) -> list[Example]:
    return [*dataset.train, *dataset.test]


def assert_nothing_shared(dataset: Dataset, limit: float) -> None:
    train, test = dataset.train, dataset.test
    assert not {e.group for e in train} & {e.group for e in test}
    assert not {e.digest for e in train} & {e.digest for e in test}
    texts = comparison_texts(both(dataset))
    left, right = texts[: len(train)], texts[len(train) :]
    assert pairs_across(left, right, limit) == []
    if len(left) * len(right) < 400:
        alike = [jaccard(shingles(a), shingles(b)) >= limit for a in left for b in right]
        assert not any(alike)


@SLOW
@given(rows=tables(), order=st.randoms(use_true_random=False))
def test_laws_of_the_split(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], order: random.Random
) -> None:
    root = tmp_path_factory.mktemp("split")
    write(root / "one", rows)
    dataset = curate_dataset(root / "one")
    assert_nothing_shared(dataset, CurationConfig().near_duplicate_threshold)
    assert len(both(dataset)) + sum(dataset.report.dropped.values()) == len(rows)

    shuffled = list(rows)
    order.shuffle(shuffled)
    cut = order.randrange(len(shuffled) + 1)
    for name, part in (("z.jsonl", shuffled[:cut]), ("a.jsonl", shuffled[cut:])):
        if part:
            write(root / "two", part, name)
    again = curate_dataset(root / "two")
    assert (dataset.train_digest, dataset.test_digest) == (again.train_digest, again.test_digest)
    assert [e.messages for e in dataset.train] == [e.messages for e in again.train]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=60), st.floats(0.05, 0.5))
def test_share_is_close_and_no_side_is_empty(sizes: list[int], share: float) -> None:
    clusters = [
        [_example(f"cluster {c} member {m}", f"answer {c} {m}") for m in range(size)]
        for c, size in enumerate(sizes)
    ]
    train, test = split_clusters(clusters, share)
    assert train
    assert test
    assert len(train) + len(test) == sum(sizes)
    assert abs(len(test) - share * sum(sizes)) <= max(sizes)


def _example(question: str, answer: str) -> Example:
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(turns, "x", question, question)  # type: ignore[arg-type]


def test_labels_are_held_out_in_proportion(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [
        ("", " ".join(rng.choices(WORDS, k=12)) + f" {label} {i}", label)
        for label, count in (("cards", 400), ("cash", 100), ("rare", 20))
        for i in range(count)
    ]
    write(tmp_path, rows)
    dataset = curate_dataset(tmp_path)
    for label in ("cards", "cash", "rare"):
        held = sum(e.reference == label for e in dataset.test)
        total = held + sum(e.reference == label for e in dataset.train)
        assert abs(held / total - 0.2) <= 0.06, label


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("Where is my new card?", "where is my  new card", True),
        ("Why was my card payment declined today?", "Why was my card paymnt declined today?", True),
        ("My top up of 20 pounds failed again", "My top-up of 20 pounds failed again", True),
        ("What is the fee for cash?", "How do I change my PIN?", False),
        ("What is 12 times 30?", "What is 47 times 85?", False),
        ("I lost my card in Spain", "I lost my phone in Norway", False),
    ],
)
def test_near_duplicates_of_short_texts(one: str, other: str, near: bool) -> None:
    clusters = Clusters(2)
    join_near(clusters, range(2), [plain(one), plain(other)], 0.75)
    assert (clusters.find(1) == 0) is near
    assert (similarity(one, other) >= 0.75) is near


def test_numbers_are_never_erased() -> None:
    texts = [
        f"Invoice {i * 7919} over {i * 104729} euros is due on day {i * 31}" for i in range(50)
    ]
    assert len({plain(text) for text in texts}) == 50


@pytest.mark.parametrize(
    ("one", "other"),
    [("2+3", "2-3"), ("2.3", "23"), ("$5", "5%"), ("C++", "C"), ("x < y", "x > y"), ("-5", "5")],
)
def test_plain_form_keeps_what_matters(one: str, other: str) -> None:
    assert plain(one) != plain(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Hello, World!", "hello world"), ("“Why?”", "why"), (" a\tb\n", "A b"), ("Ｅ", "ｅ")],
)
def test_plain_form_folds_the_rest(one: str, other: str) -> None:
    assert plain(one) == plain(other)


def test_a_common_instruction_does_not_make_everything_alike(tmp_path: Path) -> None:
    rng = random.Random(3)
    instruction = "Read the following message of a customer and name its department: "
    rows = [
        ("", instruction + " ".join(rng.choices(WORDS, k=6)) + f" {i}", rng.choice(["a", "b"]))
        for i in range(200)
    ]
    write(tmp_path, rows)
    dataset = curate_dataset(tmp_path)
    assert 0.15 <= len(dataset.test) / len(both(dataset)) <= 0.25


@pytest.mark.parametrize("name", ["tables/banking77/train.csv", "tables/covid_faq", "pdf"])
def test_real_data_shares_nothing_across_the_split(shared_data: Path, name: str) -> None:
    dataset = curate_dataset(shared_data / name)
    assert_nothing_shared(dataset, CurationConfig().near_duplicate_threshold)
    share = len(dataset.test) / len(both(dataset))
    assert 0.19 <= share <= 0.21


def test_questions_about_one_passage_stay_together(shared_data: Path) -> None:
    dataset = curate_dataset(shared_data / "tables" / "xquad" / "xquad.en.json")
    contexts = [
        {example.prompt[0]["content"].rpartition("\n\n")[0] for example in side}
        for side in (dataset.train, dataset.test)
    ]
    assert len(contexts[0]) + len(contexts[1]) == 240
    assert not contexts[0] & contexts[1]
    assert len(dataset.test) == 237
