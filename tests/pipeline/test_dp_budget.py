"""The dp_budget gate and the register of what released packages have spent."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tensafe.data.records import Example, Message
from tensafe.errors import GateRefusedError, TensafeError
from tensafe.gate.dp_budget import dp_budget
from tensafe.gate.lifetime import REGISTER, PrivacyRegister, RecordPrint, Spent, record_prints
from tensafe.gate.records import GateRecord
from tinker_engine.runtime.records import PrivacyRecord

RECORD = PrivacyRecord(
    mechanism="DP-SGD (Poisson-sampled Gaussian)",
    unit="one example after curation",
    epsilon=7.9,
    delta=1e-5,
    clip_norm=1.0,
    noise_multiplier=1.2,
    sampling_rate=0.1,
    expected_batch_size=100.0,
    steps=50,
    planned_steps=50,
    max_epsilon=8.0,
    record_set="ab" * 32,
    accountant="PLD",
    accountant_version="0.6",
    lora_train="B",
    declared="Poisson",
    ledger_digest="cd" * 32,
)
NOTHING = Spent(0.0, 0.0, ())


def prints(letters: str) -> list[RecordPrint]:
    """A record for each letter."""
    return [RecordPrint(letter * 16, letter.upper() * 16) for letter in letters]


def judge(
    record: PrivacyRecord | None, *, spent: Spent = NOTHING, private: bool = True
) -> GateRecord:
    return dp_budget(
        record,
        promised_epsilon=8.0,
        lifetime_epsilon=8.0,
        spent=spent,
        examples=1000,
        record_set="ab" * 32,
        private=private,
    )


def test_a_run_within_its_budget_passes() -> None:
    record = judge(RECORD)
    assert record.verdict == "passed"
    assert record.score == 7.9


@pytest.mark.parametrize(
    "change",
    [
        {"epsilon": 8.01},
        {"epsilon": float("nan")},
        {"epsilon": float("inf")},
        {"epsilon": 0.0},
        {"noise_multiplier": 0.0},
        {"delta": 0.01},
        {"steps": 0},
        {"record_set": "00" * 32},
        {"record_set": None},
    ],
)
def test_anything_off_fails_closed(change: dict[str, object]) -> None:
    verdict = judge(replace(RECORD, **change))
    assert verdict.verdict == "failed"
    assert verdict.advice


def test_a_missing_ledger_fails() -> None:
    assert judge(None).verdict == "failed"


def test_without_privacy_the_gate_is_waived_never_passed() -> None:
    assert judge(None, private=False).verdict == "waived"


def test_releases_over_the_same_records_add_up(tmp_path: Path) -> None:
    register = PrivacyRegister(tmp_path)
    register.release("first", 5.0, 1e-5, prints("abc"))
    register.release("second", 2.0, 2e-5, prints("a"))
    spent = register.spent_by(prints("af"))
    assert spent == Spent(7.0, 1e-5 + 2e-5, ("first", "second"))
    assert judge(RECORD, spent=spent).verdict == "failed"


def test_a_set_has_spent_what_its_most_spent_record_has(tmp_path: Path) -> None:
    register = PrivacyRegister(tmp_path)
    register.release("first", 5.0, 1e-5, prints("ab"))
    register.release("second", 3.0, 1e-5, prints("bc"))
    assert register.spent_by(prints("ac")) == Spent(5.0, 1e-5, ("first", "second"))
    assert register.spent_by(prints("ab")).epsilon == 8.0


def test_a_release_without_privacy_leaves_its_records_nothing(tmp_path: Path) -> None:
    register = PrivacyRegister(tmp_path)
    register.release("open", None, 0.0, prints("a"), adapter="first")
    verdict = judge(RECORD, spent=register.spent_by(prints("ab")))
    assert verdict.verdict == "failed"
    assert "without privacy" in verdict.reason
    assert json.dumps(asdict(verdict), allow_nan=False)
    assert register.spent_by(prints("b")) == NOTHING
    assert register.spent_by(prints("a"), adapter="first") == NOTHING


def test_a_release_above_the_lifetime_budget_is_not_charged(tmp_path: Path) -> None:
    register = PrivacyRegister(tmp_path)
    register.release("first", 5.0, 1e-5, prints("a"), adapter="first", lifetime=8.0)
    with pytest.raises(GateRefusedError, match="meanwhile"):
        register.release("second", 4.0, 1e-5, prints("a"), adapter="second", lifetime=8.0)
    register.release("first again", 5.0, 1e-5, prints("a"), adapter="first", lifetime=8.0)
    register.release("third", 3.0, 1e-5, prints("a"), adapter="third", lifetime=8.0)
    assert register.spent_by(prints("a")) == Spent(8.0, 2e-5, ("first", "third"))


def test_disjoint_records_compose_in_parallel(tmp_path: Path) -> None:
    register = PrivacyRegister(tmp_path)
    register.release("first", 8.0, 1e-5, prints("a"))
    assert register.spent_by(prints("b")) == NOTHING


def test_a_damaged_register_stops_everything(tmp_path: Path) -> None:
    (tmp_path / REGISTER).write_text('{"version": 1}')
    with pytest.raises(TensafeError, match="restore it from a backup"):
        PrivacyRegister(tmp_path).spent_by(prints("a"))


@pytest.mark.parametrize(("before", "left"), [(5.0, "--epsilon 3 or less"), (7.9999, None)])
def test_what_is_left_is_advised_where_it_is_of_use(before: float, left: str | None) -> None:
    record = judge(RECORD, spent=Spent(before, 1e-5, ("first",)))
    assert record.verdict == "failed"
    advised = [line for line in record.advice if "--epsilon" in line and "lifetime" not in line]
    assert [left in line for line in advised] == ([True] if left else [])


def asked(question: str, answer: str) -> Example:
    turns = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Example(turns, "tickets.csv", "row 1", "tickets.csv:1")


def test_a_record_in_another_wording_is_the_same_one(tmp_path: Path) -> None:
    register = PrivacyRegister(tmp_path)
    register.release(
        "first", 5.0, 1e-5, record_prints([asked("Where is my parcel?", "On its way.")])
    )
    same = record_prints([asked("where is  my parcel", "On its way")])
    other = record_prints([asked("Where is my parcel?", "It is lost.")])
    assert register.spent_by(same).epsilon == 5.0
    assert register.spent_by(other) == NOTHING


def test_a_register_of_an_earlier_release_still_counts(tmp_path: Path) -> None:
    example = asked("Where is my parcel?", "On its way.")
    release = {
        "package": "old", "adapter": "", "epsilon": 5.0, "delta": 1e-5,
        "records": [example.digest[:16]],
    }  # fmt: skip
    (tmp_path / REGISTER).write_text(json.dumps({"version": 1, "releases": [release]}))
    register = PrivacyRegister(tmp_path)
    assert register.spent_by(record_prints([example])) == Spent(5.0, 1e-5, ("old",))


def test_deltas_add_up_and_are_bounded_as_one_runs_is(tmp_path: Path) -> None:
    # 1/n is 1e-3.
    assert judge(RECORD, spent=Spent(0.0, 0.99e-3, ("first",))).verdict == "passed"
    verdict = judge(RECORD, spent=Spent(0.0, 0.995e-3, ("first",)))
    assert verdict.verdict == "failed"
    assert "above 1/n" in verdict.reason
    assert any("--delta 5.0e-06 or less" in line for line in verdict.advice)
    register = PrivacyRegister(tmp_path)
    register.release("first", 1.0, 8e-4, prints("a"), delta_limit=1e-3)
    with pytest.raises(GateRefusedError, match="spent delta"):
        register.release("second", 1.0, 3e-4, prints("a"), delta_limit=1e-3)
    register.release("third", 1.0, 3e-4, prints("b"), delta_limit=1e-3)
