"""Swaps on a real engine: examined, approved, carried out, taken back, and found again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from swap_house import GATES, House

from tensafe.errors import GateRefusedError, UsageError, VerificationError
from tensafe.files import write_private
from tensafe.gate.approval import sign_approval
from tensafe.gate.audit_log import verify_log
from tensafe.gate.incident import read_incident
from tensafe.gate.swap_desk import require_applied
from tensafe.gate.swap_flow import SwapFlow
from tensafe.gate.swap_records import SlotSettings, SwapRecord
from tensafe.tgsp import Identity, KeyPair
from tensafe.tgsp.keystore import trust_path
from tensafe.tgsp.trust import revoke

# Several red teams of some 700 questions each to every model, and a training.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("swaps"))
    made.set_up()
    yield made
    made.close()


def test_a_better_adapter_is_examined_and_let_in(house: House) -> None:
    record = house.change("gates", "strong")
    require_applied(record)
    assert record.decision is not None
    assert record.decision.decided_by == "meta_agent"
    assert record.figures["improvement"] >= 0.9
    assert record.gate_accepted
    assert record.red_team_passed
    assert house.ask("gates", GATES) == (record.to_digest, "north")
    change = house.engine.slots.history("gates")[-1]
    assert record.id in change.decided_by
    assert change.gate_report_digest == record.gate_reports[0]


def test_what_is_no_improvement_is_blocked_with_an_incident(house: House) -> None:
    before = house.ask("gates", GATES)
    record = house.change("gates", "faint")
    assert record.state == "rejected"
    assert any(reason.startswith("improvement:") for reason in record.reasons)
    with pytest.raises(GateRefusedError, match=record.incident):
        require_applied(record)
    incident = read_incident(house.desk.store, record.incident)
    assert {failure.stage for failure in incident.failures} == {"red team"}
    assert incident.figures == record.figures
    assert incident.exhibits
    page = house.desk.store.incident_folder(record.incident) / "incident.html"
    assert "Swap blocked" in page.read_text("utf-8")
    assert house.ask("gates", GATES) == before


def test_a_rollback_goes_back_and_not_forth_again(house: House) -> None:
    record = house.desk.roll_back("gates", by="tests", reason="a look")
    assert record.is_applied
    assert house.ask("gates", GATES)[0] == house.engine.base_info.digest
    with pytest.raises(UsageError, match="nothing to undo"):
        house.desk.roll_back("gates", by="tests", reason="")


def test_evidence_is_used_again_and_live_quality_takes_the_slot_back(house: House) -> None:
    base = house.engine.base_info.digest
    for _ in range(40):
        assert not house.desk.score("gates", base, 1.0).has_fallen
    record = house.change("gates", "strong")
    require_applied(record)
    assert record.red_team_reused_from
    verdicts = [house.desk.score("gates", record.to_digest, 0.0) for _ in range(12)]
    fallen = next(verdict for verdict in verdicts if verdict.has_fallen)
    back = house.desk.status(fallen.rolled_back_by)
    assert (back.state, back.to_digest) == ("applied", base)
    assert house.ask("gates", GATES)[0] == base
    last = read_incident(house.desk.store, house.desk.store.incidents()[-1])
    assert (last.kind, last.slot) == ("live_quality", "gates")
    with pytest.raises(UsageError, match="score"):
        house.desk.score("gates", base, 1.5)


def test_a_refused_rollback_is_not_tried_again_with_every_score(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: SwapFlow, record: SwapRecord, settings: SlotSettings) -> SwapRecord:
        raise RuntimeError("no memory")

    record = house.change("gates", "strong")
    require_applied(record)
    with monkeypatch.context() as patch:
        patch.setattr(SwapFlow, "gate", refuse)
        verdicts = [house.desk.score("gates", record.to_digest, 0.0) for _ in range(12)]
    assert sum(verdict.has_fallen for verdict in verdicts) > 1
    refused = [swap for swap in house.desk.swaps("gates") if "no memory" in str(swap.reasons)]
    assert [(swap.action, swap.state) for swap in refused] == [("rollback", "rejected")]
    assert house.desk.roll_back("gates", by="tests", reason="").is_applied


def test_a_set_waits_for_its_signature_and_then_each_request_gets_its_member(house: House) -> None:
    record = house.change("signed", "strong", "faint", otherwise="base")
    assert (record.state, record.kind) == ("awaiting_approval", "gated")
    assert house.ask("signed", GATES)[0] == house.engine.base_info.digest
    stranger = KeyPair.generate(Identity("Eve", "eve@example.org"))
    with pytest.raises(VerificationError, match="not among the approvers"):
        house.desk.decide(record.id, sign_approval(stranger, record, "approve"))
    applied = house.desk.decide(record.id, sign_approval(house.approver, record, "approve", "ok"))
    assert applied.is_applied
    strong, faint = (member.adapter_digest for member in applied.members)
    assert house.ask("signed", GATES) == (strong, "north")
    assert house.ask("signed", "A red lamp is lit. What does the colour mean?")[0] == faint
    assert house.ask("signed", "Hm.")[0] == house.engine.base_info.digest
    slot = house.desk.slot("signed")
    assert (slot["is_set"], slot["digest"]) == (True, applied.to_digest)
    with pytest.raises(UsageError, match="waits for no approval"):
        house.desk.decide(record.id, sign_approval(house.approver, record, "approve"))


def test_a_human_says_no_or_says_nothing_in_time(house: House) -> None:
    record = house.desk.roll_back("signed", by="tests", reason="a look")
    assert record.state == "awaiting_approval"
    no = house.desk.decide(record.id, sign_approval(house.approver, record, "reject", "keep it"))
    assert (no.state, no.reasons) == ("rejected", ("keep it",))
    late = house.desk.roll_back("signed", by="tests", reason="another look")
    expired = late.model_copy(update={"expires_at": "2026-01-01T00:00:00+00:00"})
    house.desk.store.write_record(expired)
    with pytest.raises(UsageError, match="expired"):
        house.desk.decide(late.id, sign_approval(house.approver, expired, "approve"))
    assert house.desk.slot("signed")["is_set"]


def test_approved_twice_moves_once_and_a_moved_slot_supersedes(house: House) -> None:
    record = house.desk.roll_back("signed", by="tests", reason="one")
    other = house.desk.roll_back("signed", by="tests", reason="two")
    for one, state in ((record, "applied"), (other, "superseded")):
        document = sign_approval(house.approver, one, "approve")
        assert house.desk.decide(one.id, document).state == state
    assert house.ask("signed", GATES)[0] == house.engine.base_info.digest


def test_a_rejection_is_reproduced_from_what_was_kept(house: House) -> None:
    rejected = next(r for r in house.desk.swaps("gates") if r.red_team_passed is False)
    told = house.desk.reproduce(rejected.id)
    assert told["same_verdict"]
    assert told["figures"]["largest_gap"] < 1e-6


def test_the_log_is_whole_after_all_this(house: House) -> None:
    assert verify_log(house.desk.store.home).is_whole


def test_a_live_adapter_whose_creator_was_revoked_shows_at_the_start(house: House) -> None:
    record = house.change("gates", "strong")
    if not record.is_applied:
        assert record.reasons == ("the slot answers with this very adapter already",)
    file = trust_path(house.home)
    trusted, before = file.read_bytes(), len(house.desk.store.incidents())
    revoke(file, house.signer.public.fingerprint, reason="stolen")
    house.host.stop()
    house.open()
    patience = time.monotonic() + 60
    while len(house.desk.store.incidents()) == before and time.monotonic() < patience:
        time.sleep(0.1)
    write_private(file, trusted)
    assert house.damaged == []
    assert len(house.desk.store.incidents()) == before + 1
    last = read_incident(house.desk.store, house.desk.store.incidents()[-1])
    assert (last.kind, last.slot) == ("slot_unwanted", "gates")
    assert "revoked" in last.failures[0].reason
    assert not house.desk.slot("gates")["is_base"]


def test_damage_shows_at_the_start(house: House) -> None:
    record = house.change("gates", "strong")
    if not record.is_applied:
        assert record.reasons == ("the slot answers with this very adapter already",)
    digest = str(house.desk.slot("gates")["digest"])
    house.host.stop()
    weights = house.folder / "engine" / "adapters" / digest / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    house.open()
    weights.write_bytes(kept)
    assert house.damaged == ["gates"]
    last = read_incident(house.desk.store, house.desk.store.incidents()[-1])
    assert last.kind == "slot_damaged"
