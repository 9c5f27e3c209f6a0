"""Parts of swaps that need no engine: approvals, routing, live quality, incidents, input files."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tensafe.errors import DataError, UsageError, VerificationError
from tensafe.gate.approval import read_approval, sign_approval
from tensafe.gate.incident import Exhibit, Failure, Incident, read_incident, write_incident
from tensafe.gate.incident_page import render_incident
from tensafe.gate.live_quality import FallTest, floor_of, judge_live
from tensafe.gate.swap_evaluation import read_held_out, read_prompts
from tensafe.gate.swap_flow import HostRules
from tensafe.gate.swap_records import Member, SwapPolicy, SwapRecord
from tensafe.gate.swap_sets import BASE, route, set_document
from tensafe.gate.swap_store import SwapStore, new_id
from tensafe.tgsp import Identity, KeyPair
from tensafe.tgsp.canonical import canonical_json
from tensafe.tgsp.manifest import ManifestView
from tensafe.tgsp.trust import TrustedCreator, TrustStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SIGNER = KeyPair.generate(Identity("Ann Approver", "ann@example.org"))
OTHER = KeyPair.generate(Identity("Otto Other", "otto@example.org"))


def record(**changes: Any) -> SwapRecord:
    fields: dict[str, Any] = {
        "id": "20260601T000000Z-00000001",
        "slot": "support",
        "action": "swap",
        "kind": "linear",
        "state": "awaiting_approval",
        "requested_by": "somebody",
        "requested_at": "2026-06-01T00:00:00Z",
        "reason": "",
        "packages": ("a" * 64,),
        "from_digest": "b" * 64,
        "to_digest": "c" * 64,
        "gate_reports": ("d" * 64,),
        "red_team_digest": "e" * 64,
    }
    return SwapRecord(**{**fields, **changes})


def trusting(*pairs: KeyPair, **changes: str) -> TrustStore:
    entries = {
        pair.public.fingerprint: replace(
            TrustedCreator(pair.public, "2026-01-01T00:00:00Z"), **changes
        )
        for pair in pairs
    }
    return TrustStore(entries)


def read(document: bytes, for_record: SwapRecord, trust: TrustStore | None = None) -> Any:
    approvers = (SIGNER.public.fingerprint,)
    return read_approval(document, for_record, approvers, trust or trusting(SIGNER, OTHER), at=NOW)


def test_an_approval_verifies_for_its_swap_alone() -> None:
    document = sign_approval(SIGNER, record(), "approve", "looked at it")
    approval = read(document, record())
    assert (approval.verdict, approval.approver) == ("approve", "Ann Approver")
    for field, value in {
        "id": "20260601T000000Z-00000002",
        "slot": "other",
        "action": "rollback",
        "from_digest": "0" * 64,
        "to_digest": "0" * 64,
        "gate_reports": ("0" * 64,),
        "red_team_digest": "0" * 64,
    }.items():
        with pytest.raises(VerificationError, match="the approval is for"):
            read(document, record(**{field: value}))


def test_only_a_named_approver_with_a_key_in_force() -> None:
    with pytest.raises(VerificationError, match="not among the approvers"):
        read(sign_approval(OTHER, record(), "approve"), record())
    document = sign_approval(SIGNER, record(), "approve")
    with pytest.raises(VerificationError, match="untrusted"):
        read(document, record(), trusting(OTHER))
    for change in ({"revoked": "2026-02-01T00:00:00Z"}, {"expires": "2026-02-01"}):
        with pytest.raises(VerificationError, match=r"revoked|expired"):
            read(document, record(), trusting(SIGNER, **change))


def test_a_changed_approval_is_none() -> None:
    document = sign_approval(SIGNER, record(), "reject", "no")
    changed = json.loads(document)
    changed["verdict"] = "approve"
    with pytest.raises(VerificationError, match="Ed25519"):
        read(canonical_json(changed), record())
    changed = json.loads(document)
    changed["signatures"]["ml_dsa_65"] = json.loads(sign_approval(OTHER, record(), "reject", "no"))[
        "signatures"
    ]["ml_dsa_65"]
    with pytest.raises(VerificationError, match="ML-DSA-65"):
        read(canonical_json(changed), record())
    for text in (b"", b"{}", b"[1]", document[:-3], document.replace(b'":', b'": ')):
        with pytest.raises(VerificationError):
            read(text, record())


def view(name: str, description: str, *triggers: str) -> ManifestView:
    skill = ManifestView.model_fields["skill"].annotation
    return ManifestView.model_construct(
        name=name,
        domain="general",
        skill=skill(description=description, triggers=triggers),  # type: ignore[misc]
        skill_doc=None,
    )


def member(letter: str) -> Member:
    return Member(
        package=f"{letter}.tgsp",
        package_digest=letter * 64,
        adapter_digest=letter * 64,
        config_digest="f" * 64,
        skill_name=letter,
    )


MEMBERS = [
    (member("a"), view("billing", "Answers questions about invoices and payments.", "invoice")),
    (member("b"), view("travel", "Plans journeys by train and ferry.", "book a ferry ticket")),
]


@pytest.mark.parametrize(
    ("text", "to"),
    [
        ("Why is my invoice higher than last month?", "a"),
        ("When do payments arrive?", "a"),
        ("I want to take the train to the coast", "b"),
        ("Which ferry goes there?", "b"),
        ("What is the meaning of life?", None),
        ("", None),
    ],
)
def test_a_request_goes_to_the_member_that_is_for_it(text: str, to: str | None) -> None:
    document = set_document(MEMBERS, otherwise=BASE)
    assert route(document, text).digest == (BASE if to is None else to * 64)
    assert route(document, text) == route(document, text)


def test_what_nobody_is_for_goes_where_the_set_says() -> None:
    document = set_document(MEMBERS, otherwise="b" * 64)
    assert route(document, "What is the meaning of life?").digest == "b" * 64


def test_a_set_that_is_none_is_refused() -> None:
    for members, otherwise in (
        (MEMBERS[:1], BASE),
        ([MEMBERS[0], MEMBERS[0]], BASE),
        (MEMBERS, "c" * 64),
    ):
        with pytest.raises(UsageError):
            set_document(members, otherwise=otherwise)


def test_a_fall_is_noticed_and_chance_is_not() -> None:
    rng = random.Random(0)
    fallen = FallTest(floor=0.8, alpha=0.01)
    items = 0
    while not fallen.has_fallen:
        fallen.add(float(rng.random() < 0.5))
        items += 1
    assert items < 80
    alarms = 0
    for _ in range(100):
        test = FallTest(floor=0.8, alpha=0.05)
        for _ in range(60):
            test.add(float(rng.random() < 0.8))
        alarms += test.has_fallen
    # Ville's bound: at most 5% of adapters at the floor, at any of 60 looks; here 100 were tried.
    assert alarms / 100 <= 0.05 + 0.04


def test_without_a_baseline_nothing_is_judged() -> None:
    assert floor_of([1.0] * 9, tolerance=0.02, needed=10) is None
    floor = floor_of([1.0] * 100, tolerance=0.02, needed=10)
    assert floor is not None
    assert 0.9 < floor < 0.98
    verdict = judge_live("a", [0.0] * 50, [], tolerance=0.02, alpha=0.01, needed=10)
    assert not verdict.has_fallen
    with pytest.raises(ValueError, match="score"):
        FallTest(0.5, 0.01).add(float("nan"))


def test_an_incident_page_shows_hostile_text_as_text(tmp_path: Path) -> None:
    hostile = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe"
    incident = Incident(
        id=new_id(),
        kind="swap_rejected",
        slot=hostile[:20],
        swap="20260601T000000Z-00000001",
        at="2026-06-01T00:00:00Z",
        summary=hostile,
        failures=(Failure(stage="red team", check=hostile, reason=hostile),),
        exhibits=(Exhibit(what=hostile, prompt=hostile, before=hostile, after=hostile),),
        figures={hostile: 1.0},
        evidence={hostile: hostile},
        what_to_do=(hostile,),
    )
    page = render_incident(incident)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    store = SwapStore(tmp_path / "swaps")
    write_incident(store, incident)
    assert read_incident(store, incident.id) == incident
    assert store.incidents() == [incident.id]


def test_held_out_files(tmp_path: Path) -> None:
    file = tmp_path / "held.jsonl"
    rows: list[dict[str, Any]] = [
        {"prompt": "Q1", "completion": "A1"},
        {"question": "Q2", "answer": "A2"},
        {"messages": [{"role": "user", "content": "Q3"}, {"role": "assistant", "content": "A3"}]},
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    assert [(e.prompt[-1]["content"], e.reference) for e in read_held_out(file)] == [
        ("Q1", "A1"), ("Q2", "A2"), ("Q3", "A3"),
    ]  # fmt: skip
    for bad, words in (
        ('{"prompt": "Q"}', "line 1"),
        ("{", "not JSON"),
        ("[]", "object"),
        ('{"messages": [{"role": "user", "content": "Q"}]}', "assistant"),
        ("", "no example"),
    ):
        file.write_text(bad, "utf-8")
        with pytest.raises(DataError, match=words):
            read_held_out(file)
    prompts = tmp_path / "safety.txt"
    prompts.write_text("One?\n\nTwo?\n", "utf-8")
    assert read_prompts(prompts) == ["One?", "Two?"]


def test_kept_examples_that_were_changed_are_refused(tmp_path: Path) -> None:
    store = SwapStore(tmp_path / "swaps")
    file = tmp_path / "held.jsonl"
    file.write_text('{"prompt": "Q", "completion": "A"}', "utf-8")
    digest = store.add_examples(read_held_out(file))
    assert [e.reference for e in store.examples(digest)] == ["A"]
    kept = tmp_path / "swaps" / "evaluation" / f"{digest}.jsonl"
    kept.write_text(kept.read_text("utf-8").replace('"A"', '"B"'), "utf-8")
    with pytest.raises(DataError, match="changed"):
        store.examples(digest)


def test_a_slot_names_only_approvers_of_its_host() -> None:
    rules = HostRules("human_in_loop", ("ann", "ben"))
    own = SwapPolicy(approvers=("eve",))
    assert rules.strangers(own) == ("eve",)
    assert rules.over(own).approvers == ("ann", "ben")
    assert rules.over(SwapPolicy(approvers=("eve", "ben"))).approvers == ("ben",)
    assert rules.over(SwapPolicy()).approval == "human_in_loop"
    assert HostRules().over(own) == own
    assert HostRules().strangers(own) == ()


def test_records_survive_a_round_trip_and_refuse_what_is_foreign(tmp_path: Path) -> None:
    store = SwapStore(tmp_path / "swaps")
    written = store.write_record(record(figures={"improvement": 0.1}))
    assert store.record(written.id) == written
    path = store.swap_folder(written.id) / "record.json"
    path.write_text(path.read_text("utf-8").replace('"linear"', '"other"'), "utf-8")
    with pytest.raises(DataError, match="kind"):
        store.record(written.id)
    with pytest.raises(UsageError):
        store.record("../../etc")
    with pytest.raises(ValueError, match="finite"):
        record(figures={"improvement": float("nan")})
    with pytest.raises(ValueError, match="greater than"):
        SwapPolicy(max_p_value=0)
