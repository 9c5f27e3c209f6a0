"""Swaps on a real engine: examined, approved, carried out, taken back, and found again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from evidence._gate_packages import good_package
from evidence._swap_adapters import CREATOR, PASSPHRASE, SKILLS, held_out, make_packages
from tensafe.errors import GateRefusedError, UsageError, VerificationError
from tensafe.gate.approval import sign_approval
from tensafe.gate.audit_log import verify_log
from tensafe.gate.incident import read_incident
from tensafe.gate.red_team_records import RedTeamReport
from tensafe.gate.swap import SwapPolicy, SwapRecord, request_swap
from tensafe.gate.swap_desk import SwapDesk, require_applied
from tensafe.gate.swap_flow import SwapFlow
from tensafe.gate.swap_host import SwapHost
from tensafe.gate.swap_judge import SwapJudge
from tensafe.gate.swap_sets import BASE
from tensafe.screen.config import ScreenConfig
from tensafe.tgsp import Identity, KeyPair, KeyStore
from tensafe.tgsp.keystore import trust_path
from tensafe.tgsp.trust import trust
from tinker_engine.config import EngineConfig
from tinker_engine.models.adapter_files import read_adapter, write_adapter
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.host import Host
from tinker_engine.storage.api_keys import new_secret

QUICK = ScreenConfig(generation_tokens=8)
GATES = "The parcel of Ines with a lamp goes to the harbour. Which gate?"


class House:
    """An engine that is served, a host of slots beside it, and two packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "tensafe"
        self.packages = make_packages(folder, self.home, ("strong",))
        self.signer = KeyStore(self.home).unlock(CREATOR, PASSPHRASE)
        self.approver = KeyPair.generate(Identity("Ann Approver", "ann@example.org"))
        trust(trust_path(self.home), self.approver.public)
        self.engine = Engine.open(EngineConfig(home=folder / "engine", threads=1))
        self.server = Host(self.engine, "127.0.0.1", 0, new_secret())
        self.server.start()
        files = read_adapter(folder / "strong")
        faint = {name: (a, b * 0.2) for name, (a, b) in files.factors.items()}
        write_adapter(folder / "faint", files.config, faint)
        self.packages["faint"] = good_package(
            folder / "faint.tgsp", folder / "faint", self.engine.base_info, self.signer,
            SKILLS["colours"],
        )  # fmt: skip
        self.host: SwapHost = self.open()

    @property
    def desk(self) -> SwapDesk:
        return self.host.desk

    def open(self) -> SwapHost:
        self.host = SwapHost(self.engine, self.server, home=self.home)
        self.damaged = self.host.start()
        return self.host

    def ask(self, slot: str, text: str) -> tuple[str, str]:
        """The digest that answered, and the answer."""
        answer = httpx.post(
            f"{self.server.base_url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {self.server.api_key}"},
            json={
                "model": slot,
                "messages": [{"role": "user", "content": text}],
                "temperature": 0,
                "max_tokens": 6,
            },
            timeout=60,
            trust_env=False,
        ).raise_for_status()
        body = answer.json()
        assert body["system_fingerprint"] == answer.headers["x-adapter-digest"]
        return answer.headers["x-adapter-digest"], body["choices"][0]["message"]["content"].strip()

    def change(self, slot: str, *names: str, **more: Any) -> SwapRecord:
        files = [self.packages[name] for name in names]
        return request_swap(slot, files, by="tests", service=self.desk, **more)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("swaps"))
    made.desk.create_slot(
        "gates", held_out=held_out(count=20), policy=SwapPolicy(screen=QUICK), by="tests"
    )
    made.desk.create_slot(
        "signed",
        held_out=held_out(count=20),
        policy=SwapPolicy(
            screen=QUICK,
            approval="human_in_loop",
            approvers=(made.approver.public.fingerprint,),
        ),
        by="tests",
    )
    yield made
    made.host.stop()
    made.server.stop()


def test_a_new_slot_answers_with_the_base_and_has_nothing_to_undo(house: House) -> None:
    assert house.ask("gates", GATES)[0] == house.engine.base_info.digest
    with pytest.raises(UsageError, match="nothing to undo"):
        house.desk.roll_back("gates", by="tests", reason="")


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


def test_a_tampered_or_unknown_package_gets_no_further_than_the_gate(
    house: House, tmp_path: Path
) -> None:
    data = bytearray(house.packages["strong"].read_bytes())
    data[-50] ^= 1
    bad = tmp_path / "bad.tgsp"
    bad.write_bytes(bytes(data))
    record = request_swap("gates", [bad], by="tests", service=house.desk)
    assert (record.state, record.red_team_digest) == ("rejected", "")
    incident = read_incident(house.desk.store, record.incident)
    assert "payload_hash" in {failure.check for failure in incident.failures}
    assert any("signed" in advice for advice in incident.what_to_do)
    same = house.change("gates", "strong")
    assert same.reasons == ("the slot answers with this very adapter already",)
    with pytest.raises(UsageError, match="no slot"):
        house.change("absent", "strong")


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


def test_an_open_swap_goes_on_in_the_next_process_and_damage_shows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(self: SwapFlow, swap_id: str) -> SwapRecord:
        return self.store.record(swap_id)

    with monkeypatch.context() as patch:
        patch.setattr(SwapFlow, "examine", cut_off)
        record = house.change("gates", "strong")
        assert record.state == "requested"
    house.host.stop()
    house.open()
    assert house.damaged == []
    assert house.desk.wait(record.id).state == "applied"
    house.host.stop()
    weights = house.folder / "engine" / "adapters" / record.to_digest / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    house.open()
    assert house.damaged == ["gates"]
    weights.write_bytes(kept)
    with pytest.raises(UsageError, match="another host"):
        SwapHost(house.engine, house.server, home=house.home)


def test_a_crash_of_the_red_team_lets_nothing_in(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> RedTeamReport:
        raise RuntimeError("no memory")

    monkeypatch.setattr(SwapJudge, "examine", crash)
    record = house.change("gates", "faint", "strong")
    assert record.state == "rejected"
    assert "no memory" in record.reasons[0]


def test_the_log_is_whole_after_all_this(house: House) -> None:
    assert verify_log(house.desk.store.home).is_whole


def test_composition_adds_up(house: House, tmp_path: Path) -> None:
    import torch

    from tensafe.gate.swap_composition import compose

    folders = [house.folder / "strong", house.folder / "faint"]
    found = compose(folders, tmp_path / "one")
    shutil.rmtree(tmp_path / "one")
    assert compose(folders, tmp_path / "one") == found
    members, one = [read_adapter(folder) for folder in folders], read_adapter(tmp_path / "one")
    for module, (a, b) in one.factors.items():
        change = (one.config.alpha / one.config.rank) * (b @ a)
        wanted = sum(
            (m.config.alpha / m.config.rank) * (m.factors[module][1] @ m.factors[module][0]) / 2
            for m in members
        )
        torch.testing.assert_close(change, wanted)
    assert BASE == "base"
