from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from local_model import LocalModel, asked, corpus_pairs, dataset_of

from tensafe.data.records import Example, Message
from tensafe.errors import EvaluationError
from tensafe.evaluate import Answered, QaVerifyConfig, RunFacts, qa_verify


@pytest.fixture(scope="module")
def pairs(shared_data: Path) -> list[Example]:
    return corpus_pairs(shared_data / "models" / "slm4096-gpt2-hf")


def test_a_model_that_knows_the_answers_passes(
    memorising: LocalModel, storyteller: LocalModel, pairs: list[Example]
) -> None:
    report = qa_verify(memorising, storyteller, dataset_of([], pairs))
    assert report.score > 0.9
    assert report.base_score < 0.3
    assert report.interval is not None
    assert report.interval.low < report.score < report.interval.high
    assert report.paired is not None
    assert report.paired.p_value < 1e-3
    record = report.gate()
    assert record.verdict == "passed"
    assert record.report_digest == report.digest
    assert json.loads(report.to_json())["score"] == report.score


def test_a_model_that_does_not_know_them_fails_with_advice(
    memorising: LocalModel, storyteller: LocalModel, pairs: list[Example]
) -> None:
    trained = [asked(f"Which team handles request number {i}?", "team north") for i in range(9)]
    report = qa_verify(
        storyteller,
        memorising,
        dataset_of(trained, pairs),
        facts=RunFacts(base_name="storyteller", rank=30, epsilon=8.0, train_examples=9),
    )
    record = report.gate()
    assert record.verdict == "failed"
    assert any("does not beat its base" in line for line in record.advice)
    assert any("epsilon 8" in line for line in record.advice)
    assert "team north" not in json.dumps(record.evidence), "evidence quotes no data"


def test_the_same_inputs_give_the_same_report(
    memorising: LocalModel, storyteller: LocalModel, pairs: list[Example]
) -> None:
    config = QaVerifyConfig(max_items=7)
    forward = qa_verify(memorising, storyteller, dataset_of([], pairs), config)
    backward = qa_verify(memorising, storyteller, dataset_of([], pairs[::-1]), config)
    assert len(forward.items) == 7
    assert forward.digest == backward.digest


def test_items_seen_in_training_and_plain_text_are_counted_and_left_out(
    memorising: LocalModel, storyteller: LocalModel, pairs: list[Example]
) -> None:
    text = Example((Message(role="assistant", content="Plain."),), "a.txt", "1", "a", kind="text")
    blank = asked("Is this answered?", "  ")
    report = qa_verify(memorising, storyteller, dataset_of(pairs[:3], [*pairs[:5], text, blank]))
    coverage = report.coverage
    assert (coverage.close_to_training, coverage.text_kind, coverage.blank) == (3, 1, 1)
    assert coverage.asked == 2


def test_without_a_scorable_item_the_gate_fails_closed(
    memorising: LocalModel, storyteller: LocalModel, pairs: list[Example]
) -> None:
    report = qa_verify(memorising, storyteller, dataset_of(pairs, pairs))
    record = report.gate()
    assert record.verdict == "failed"
    assert "can be scored" in record.reason
    assert record.advice


def test_labels_are_scored_exactly_and_confusions_counted(
    memorising: LocalModel, storyteller: LocalModel
) -> None:
    train = [asked(f"Invoice {i} is wrong, what now?", "billing desk") for i in range(4)]
    train += [asked(f"My parcel number {i} is late today", "shipping desk") for i in range(4)]
    test = [asked("I was charged twice last month", "billing desk", source="x.csv")]
    report = qa_verify(memorising, storyteller, dataset_of(train, test))
    assert report.items[0].label == "billing desk"
    assert report.items[0].rule == "closed"
    assert report.items[0].score in (0.0, 1.0)
    assert report.by_label[0].train_items == 4
    assert [c.count for c in report.confusions] == [1]


class LengthJudge:
    """A real scorer of one property: answers of about the reference's length."""

    name = "length"

    def scores(self, answered: Sequence[Answered]) -> list[float]:
        return [
            min(len(a.answer), len(a.reference)) / max(len(a.answer), len(a.reference), 1)
            for a in answered
        ]


class ShortJudge(LengthJudge):
    def scores(self, answered: Sequence[Answered]) -> list[float]:
        return super().scores(answered)[1:]


def test_an_extra_scorer_stands_beside_the_score(
    memorising: LocalModel, storyteller: LocalModel, pairs: list[Example]
) -> None:
    plain = qa_verify(memorising, storyteller, dataset_of([], pairs))
    judged = qa_verify(memorising, storyteller, dataset_of([], pairs), scorers=[LengthJudge()])
    assert judged.score == plain.score
    assert judged.extra_scores["length"]["adapter"] > judged.extra_scores["length"]["base"]
    with pytest.raises(EvaluationError, match="one value"):
        qa_verify(memorising, storyteller, dataset_of([], pairs), scorers=[ShortJudge()])
