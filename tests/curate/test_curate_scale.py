"""Laws of the parts that make curation fit in memory: sketches, candidates, stored examples."""

from __future__ import annotations

import itertools
import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensafe.curate import curate_dataset, read_dataset, sketches, write_dataset
from tensafe.curate.near import Clusters, jaccard, join_near, shingles, text_key
from tensafe.curate.rows import Rows
from tensafe.curate.shingling import shared_counts, shingle_sets
from tensafe.curate.text import plain
from tensafe.data import stored
from tensafe.data.records import Example, set_digest
from tensafe.data.stored import StoredExamples, StoredTexts

WORDS = ["card", "bank", "cash", "transfer", "refund", "pin", "lost", "money", "where", "10", "25"]
TEXTS = st.lists(st.text(max_size=40).map(plain), min_size=2, max_size=12)


def varied(count: int, seed: int = 3) -> list[str]:
    """Texts of which a third are another one with a typing error."""
    rng = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        if texts and rng.random() < 0.33:
            text = rng.choice(texts)
            place = rng.randrange(len(text))
            texts.append(text[:place] + rng.choice("xyé😀") + text[place:])
        else:
            texts.append(f"{' '.join(rng.choices(WORDS, k=rng.randint(3, 20)))} {rng.random()}")
    return [plain(text) for text in texts]


def partition(texts: list[str], limit: float) -> set[frozenset[str]]:
    clusters = Clusters(len(texts))
    join_near(clusters, range(len(texts)), texts, limit)
    return {frozenset(texts[member] for member in members) for members in clusters.sets()}


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS)
def test_array_shingles_are_the_sets_of_the_definition(texts: list[str]) -> None:
    found = shingle_sets(texts)
    assert found.counts.tolist() == [len(shingles(text)) for text in texts]
    left = np.arange(len(texts) - 1)
    expected = [len(shingles(a) & shingles(b)) for a, b in itertools.pairwise(texts)]
    assert shared_counts(found, left, left + 1).tolist() == expected


@pytest.mark.parametrize("limit", [0.5, 0.75, 0.9, 1.0])
def test_near_duplicates_are_those_of_comparing_all_pairs(limit: float) -> None:
    texts = varied(400)
    grams = [shingles(text) for text in texts]
    clusters = Clusters(len(texts))
    for one in range(len(texts)):
        for other in range(one):
            if jaccard(grams[one], grams[other]) >= limit:
                clusters.join(one, other)
    expected = {frozenset(texts[member] for member in members) for members in clusters.sets()}
    assert len(expected) < 0.95 * len(set(texts)) or limit > 0.8
    assert partition(texts, limit) == expected


def test_clusters_do_not_depend_on_order_nor_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = varied(600)
    whole = partition(texts, 0.75)
    positions = np.arange(len(texts))
    before = sketches.sketch_texts(texts, positions, 0.75)
    monkeypatch.setattr(sketches, "_CHUNK_TEXTS", 7)
    after = sketches.sketch_texts(texts, positions, 0.75)
    assert np.array_equal(before.bands, after.bands)
    assert np.array_equal(before.bitmaps, after.bitmaps)
    random.Random(1).shuffle(texts)
    assert partition(texts, 0.75) == whole


@settings(max_examples=30, deadline=None)
@given(question=st.text(min_size=1), answer=st.text(min_size=1))
def test_an_exchange_is_compared_in_its_plain_form(question: str, answer: str) -> None:
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer * 80})
    rows = Rows([Example(turns, "x", "1", "x#1")])  # type: ignore[arg-type]
    assert rows.exchanges[0] == plain(f"{question}\n{answer * 80}")
    assert rows.asked[0] == plain(question)


def test_one_large_bucket_is_bounded_work_and_one_cluster() -> None:
    text = " ".join(random.Random(2).choices(WORDS, k=40))
    texts = [f"{text} {number}" for number in range(1200)]
    found = sketches.sketch_texts(texts, np.arange(len(texts)), 0.75)
    proposals = sum(len(left) for left, _ in sketches.proposed_pairs(found))
    assert proposals <= 3 * 48 * len(texts) * len(found.bands)
    assert len(partition(texts, 0.75)) == 1


def test_the_bitmap_bound_never_refuses_a_near_duplicate() -> None:
    texts = varied(300)
    found = sketches.sketch_texts(texts, np.arange(len(texts)), 0.75)
    left, right = np.triu_indices(len(texts), 1)
    possible = set(sketches.may_be_alike(found, left, right, 0.75).tolist())
    grams = [shingles(text) for text in texts]
    for pair, (one, other) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        assert pair in possible or jaccard(grams[one], grams[other]) < 0.75


def test_a_split_of_an_earlier_release_stays(tmp_path: Path) -> None:
    path = tmp_path / "any.jsonl"
    records = [
        {"question": text, "answer": ["red", "blue", f"It is number {place}, and so on." * 4][k]}
        for place, text in enumerate(varied(900, seed=8))
        for k in ([0, 1] if place % 50 == 0 else [place % 3])
    ]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    dataset = curate_dataset(path)
    assert (dataset.train_digest[:16], dataset.test_digest[:16]) == (
        "881d8b77aea523f1",
        "c4390d2da3c81fbb",
    )


def test_large_sides_are_read_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "any.jsonl"
    records = [{"question": text, "answer": "yes"} for text in varied(100)]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    held = curate_dataset(path)
    monkeypatch.setattr(stored, "IN_MEMORY", 10)
    large = curate_dataset(path)
    assert isinstance(large.train, StoredExamples)
    assert large == held
    assert held == large
    assert [*large.train] == [*held.train]
    assert large.train[-1] == held.train[-1]
    assert large.train[2:5] == held.train[2:5]
    assert large.train[0] in large.train
    assert pickle.loads(pickle.dumps(large.train)) == held.train
    assert large.train_digest == set_digest(example.digest for example in held.train)
    with pytest.raises(IndexError):
        large.train[len(held.train)]
    write_dataset(large, tmp_path / "set")
    assert read_dataset(tmp_path / "set") == held


def test_stored_texts() -> None:
    texts = ["", "a", "\ud800 lone", "日本\n", "x" * (1 << 21)]
    kept = StoredTexts(texts)
    assert [*kept] == texts
    assert kept[-1] == texts[-1]
    assert kept[1:3] == texts[1:3]
    with pytest.raises(IndexError):
        kept[-6]
    assert text_key("a") == text_key("a") != text_key("b")
