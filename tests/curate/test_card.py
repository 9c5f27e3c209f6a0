"""The dataset card: what it states, and that it holds no text of the data."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tensafe.curate import CurationConfig, curate_dataset, read_dataset, write_dataset
from tensafe.curate.card import CardFacts, dataset_domain, describe_dataset
from tensafe.data.records import Dataset


def corpus(folder: Path, *, redact_pii: bool = False) -> Dataset:
    rows = [
        {
            "question": f"My parcel {i * 7919} has not arrived, can you help me with my order?",
            "answer": f"Write to desk{i}@example.org and name shelf {i * 31}.",
        }
        for i in range(40)
    ]
    path = folder / "mail.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "broken.jsonl").write_text("{", encoding="utf-8")
    return curate_dataset(folder, CurationConfig(redact_pii=redact_pii))


def test_card_states_counts_sources_findings_and_digests(tmp_path: Path) -> None:
    dataset = corpus(tmp_path)
    card = describe_dataset(dataset, CardFacts("mail", "./mail", "customer support"))
    front = yaml.safe_load(card.split("---")[1])
    assert front["license"] == "unknown"
    assert front["language"] == ["en"]
    assert front["tags"] == ["customer support"]
    assert f"| train | {len(dataset.train)} |" in card
    assert "mail.jsonl" in card
    assert "broken.jsonl" in card
    assert "e-mail addresses: 40" in card
    assert "left as they are" in card
    assert dataset.train_digest in card
    assert dataset.test_digest in card
    assert not any(example.reference in card for example in dataset.train)
    assert dataset_domain(dataset).domain == "customer support"


def test_given_license_is_stated(tmp_path: Path) -> None:
    card = describe_dataset(corpus(tmp_path), CardFacts("m", "m", "general", "CC-BY-4.0"))
    assert yaml.safe_load(card.split("---")[1])["license"] == "CC-BY-4.0"


def test_redaction_is_asked_for_and_counted_in_any_case(tmp_path: Path) -> None:
    plain = corpus(tmp_path)
    marked = corpus(tmp_path, redact_pii=True)
    assert plain.report.pii == marked.report.pii == {"email": 40}
    assert "[EMAIL]" not in plain.train[0].reference
    everything = [turn["content"] for e in (*marked.train, *marked.test) for turn in e.messages]
    assert not any("@example.org" in text for text in everything)
    assert "[EMAIL]" in marked.train[0].reference
    card = describe_dataset(marked, CardFacts("mail", "./mail", "general"))
    assert "replaced by a mark" in card


def test_findings_survive_writing_and_reading(tmp_path: Path) -> None:
    dataset = corpus(tmp_path, redact_pii=True)
    write_dataset(dataset, tmp_path / "out")
    assert read_dataset(tmp_path / "out").report == dataset.report
