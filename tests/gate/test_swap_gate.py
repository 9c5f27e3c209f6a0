"""Swaps that end before a red team, on a real engine: what is refused, found again, shown."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from swap_house import GATES, House

from evidence._swap_adapters import held_out
from tensafe.cli import main
from tensafe.errors import DataError, UsageError, VerificationError
from tensafe.files import write_private
from tensafe.gate.approval import sign_approval
from tensafe.gate.audit_log import LOG_NAME, verify_log
from tensafe.gate.incident import read_incident
from tensafe.gate.red_team_records import RedTeamCheck, RedTeamReport
from tensafe.gate.swap import SwapRecord, request_swap
from tensafe.gate.swap_client import SwapClient
from tensafe.gate.swap_flow import SwapFlow
from tensafe.gate.swap_host import SwapHost
from tensafe.gate.swap_judge import SwapJudge
from tensafe.gate.swap_records import Member, SlotSettings
from tensafe.gate.swap_store import SwapStore
from tensafe.screen.suites import load_suites
from tensafe.tgsp.keystore import trust_path
from tensafe.tgsp.trust import revoke
from tinker_engine.models.adapter_files import read_adapter
from tinker_engine.server.host import Host
from tinker_engine.storage.api_keys import new_secret


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("swaps"), steps=2)
    made.set_up()
    yield made
    made.close()


def tampered(house: House, folder: Path) -> Path:
    """A package with one bit of its weights changed."""
    data = bytearray(house.packages["strong"].read_bytes())
    data[-50] ^= 1
    bad = folder / "bad.tgsp"
    bad.write_bytes(bytes(data))
    return bad


def test_a_new_slot_answers_with_the_base_and_has_nothing_to_undo(house: House) -> None:
    assert house.ask("gates", GATES)[0] == house.engine.base_info.digest
    with pytest.raises(UsageError, match="nothing to undo"):
        house.desk.roll_back("gates", by="tests", reason="")


def test_a_tampered_or_unknown_package_gets_no_further_than_the_gate(
    house: House, tmp_path: Path
) -> None:
    bad = tampered(house, tmp_path)
    record = request_swap("gates", [bad], by="tests", service=house.desk)
    assert (record.state, record.red_team_digest) == ("rejected", "")
    incident = read_incident(house.desk.store, record.incident)
    assert "payload_hash" in {failure.check for failure in incident.failures}
    assert any("signed" in advice for advice in incident.what_to_do)
    with pytest.raises(UsageError, match="no slot"):
        house.change("absent", "strong")


def test_a_crash_of_the_red_team_lets_nothing_in(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any, **__: Any) -> RedTeamReport:
        raise RuntimeError("no memory")

    monkeypatch.setattr(SwapJudge, "examine", crash)
    record = house.change("gates", "faint", "strong")
    assert record.state == "rejected"
    assert "no memory" in record.reasons[0]


def test_an_open_swap_goes_on_in_the_next_process(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def cut_off(self: SwapFlow, swap_id: str) -> SwapRecord:
        return self.store.record(swap_id)

    with monkeypatch.context() as patch:
        patch.setattr(SwapFlow, "examine", cut_off)
        record = request_swap("gates", [tampered(house, tmp_path)], by="t", service=house.desk)
        assert record.state == "requested"
    house.host.stop()
    house.open()
    assert house.damaged == []
    assert house.desk.wait(record.id).state == "rejected"
    with pytest.raises(UsageError, match="another host"):
        SwapHost(house.engine, house.server, home=house.home)


def test_a_host_that_starts_before_its_engine_is_served_waits_for_it(
    house: House, tmp_path: Path
) -> None:
    served = house.server
    house.host.stop()
    # Bound and silent, as `tensafe serve` is until its host has started.
    house.server = Host(house.engine, "127.0.0.1", 0, new_secret())
    try:
        house.open()
        asked = house.desk.request("gates", [tampered(house, tmp_path)], by="t", reason="")
        time.sleep(0.3)
        assert house.desk.status(asked.id).state == "requested"
        house.server.start()
        record = house.desk.wait(asked.id, 60)
    finally:
        house.server = served
        house.host.stop()
        house.open()
    assert record.decision is not None
    assert (record.state, record.decision.mode) == ("rejected", "load_gate")


def test_the_control_api_needs_its_key_and_refuses_what_it_does_not_know(
    house: House, tmp_path: Path
) -> None:
    client = SwapClient.of_home(house.home)
    assert [slot["name"] for slot in client.slots()] == ["gates", "signed"]
    assert client.slot("gates")["live"]["floor"] is None
    assert httpx.get(f"{client.url}/healthz", trust_env=False).json() == {"status": "ok"}
    for key in ("", "wrong", house.server.api_key):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx.get(f"{client.url}/v1/slots", headers=headers, trust_env=False)
        assert answer.status_code == 401
    with pytest.raises(UsageError, match="no slot"):
        client.roll_back("absent", by="tests", reason="")
    with pytest.raises(UsageError, match="no swap"):
        client.status("20260101T000000Z-00000000")
    with pytest.raises(UsageError, match="held_out"):
        client._json("PUT", "/v1/slots/new", {"by": "tests"})  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(UsageError, match="different held-out examples"):
        client.create_slot("new", held_out=[], by="tests")
    with pytest.raises(UsageError, match="name of the base"):
        client.create_slot("nano", held_out=list(held_out(count=20)), by="tests")
    record = client.request("gates", [tampered(house, tmp_path)], by="tests")
    assert client.wait(record.id).state == "rejected"
    with pytest.raises(UsageError, match="waits for no approval"):
        client.decide(record.id, sign_approval(house.approver, record, "approve"))
    with pytest.raises(UsageError, match="larger"):
        client.decide(record.id, b"x" * 100_000)
    again = client.reproduce(record.id)
    assert again["same_verdict"]
    assert client.incidents()[-1]["swap"] == record.id


def test_commands(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("TENSAFE_HOME", str(house.home))

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return int(ended.value.code or 0), capsys.readouterr().out

    code, told = run("swap", "request", "gates", str(tampered(house, tmp_path)), "--json")
    assert code == 3
    record = json.loads(told)
    assert run("swap", "status", record["id"])[1].count("rejected") >= 1
    assert run("swap", "incident", record["incident"])[1].count("payload_hash") >= 1
    assert record["incident"] in run("swap", "incidents")[1]
    assert run("swap", "rollback", "gates", "--reason", "look")[0] == 2
    assert run("swap", "request", "gates", str(house.packages["strong"]), "--kind", "odd")[0] == 2
    assert "the bare base" in run("slot", "list")[1]
    assert "nothing: no swap yet" in run("slot", "show", "gates")[1]
    digest = house.engine.base_info.digest
    assert "holds" in run("slot", "score", "gates", digest, "0.5")[1]
    held = tmp_path / "held.jsonl"
    held.write_text('{"prompt": "Q", "completion": "A"}\n', "utf-8")
    assert run("slot", "set", "other", "--held-out", str(held))[0] == 2
    assert run("swap", "log")[0] == 0
    code, told = run("swap", "log", "--verify", "--json")
    assert code == 0
    head = json.loads(told)["head"]
    assert run("swap", "log", "--verify", "--head", head)[0] == 0
    assert run("swap", "log", "--verify", "--head", "0" * 64)[0] == 4
    log = house.home / "swaps" / LOG_NAME
    kept = log.read_bytes()
    log.write_bytes(kept.replace(b'"by":"tests"', b'"by":"nobody"', 1))
    assert run("swap", "log", "--verify")[0] == 4
    log.write_bytes(kept)
    assert verify_log(house.home / "swaps").is_whole


def test_a_slot_that_is_set_up_again_keeps_what_guards_it(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSAFE_HOME", str(house.home))
    client, questions = SwapClient.of_home(house.home), list(held_out(count=20))
    before = house.desk.store.slot_settings("signed")
    client.create_slot("signed", held_out=questions, safety_prompts=["Careful?"], by="tests")
    held, prompts = tmp_path / "held.jsonl", tmp_path / "none.txt"
    held.write_text("\n".join(json.dumps({"messages": e.messages}) for e in questions), "utf-8")
    prompts.touch()

    def set_up(*words: str) -> SlotSettings:
        with pytest.raises(SystemExit) as ended:
            main(["slot", "set", "signed", "--held-out", str(held), *words])
        assert not ended.value.code
        return house.desk.store.slot_settings("signed")

    after = set_up("--min-improvement", "0.1")
    assert after.policy == before.policy.model_copy(update={"min_improvement": 0.1})
    assert [e.prompt[-1]["content"] for e in house.desk.store.examples(after.safety_digest)] == [
        "Careful?"
    ]
    given = ("--min-improvement", "0.02", "--safety-prompts", str(prompts))
    assert set_up(*given).policy == before.policy
    assert house.desk.store.slot_settings("signed").safety_digest == before.safety_digest


def test_a_host_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tensafe serve"):
        SwapClient.of_home(tmp_path)


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


def test_evidence_of_the_same_weights_under_another_configuration_is_none(
    house: House, tmp_path: Path
) -> None:
    desk = house.desk
    judge = desk._judge  # pyright: ignore[reportPrivateUsage]
    store, settings = SwapStore(tmp_path / "swaps"), desk.store.slot_settings("gates")
    other = SwapJudge(store, judge._connect, judge._trust)  # pyright: ignore[reportPrivateUsage]
    member = Member(
        package="a.tgsp", package_digest="a" * 64, adapter_digest="b" * 64, config_digest="c" * 64
    )
    base = house.engine.base_info.digest
    report = {
        "at": datetime.now(UTC).isoformat(), "base_digest": base, "passed": True, "checks": [],
        "held_out_digest": settings.held_out_digest, "safety_digest": settings.safety_digest,
        "suites": load_suites().digests, "policy": settings.policy.model_dump(mode="json"),
    }  # fmt: skip
    earlier = SwapRecord(
        id="20260601T000000Z-00000001", slot="gates", action="swap", kind="linear",
        state="expired", requested_by="t", requested_at="2026-06-01T00:00:00Z", reason="",
        packages=("a" * 64,), members=(member,), from_digest=base, to_digest="b" * 64,
        gate_accepted=True,
    )  # fmt: skip
    digest = store.write_report(earlier.id, "red_team.json", json.dumps(report))
    store.write_record(earlier.model_copy(update={"red_team_digest": digest}))
    asked = earlier.model_copy(update={"id": "20260601T000001Z-00000002", "state": "requested"})
    found = other.fresh_evidence(asked, settings)
    assert found is not None
    assert found.swap == earlier.id
    bent = asked.model_copy(
        update={"members": (member.model_copy(update={"config_digest": "d" * 64}),)}
    )
    assert other.fresh_evidence(bent, settings) is None
    # What was never applied is not what is live, whatever its weights.
    after = asked.model_copy(update={"from_digest": "b" * 64, "to_digest": "e" * 64})
    with pytest.raises(DataError, match="no swap of this host"):
        other.examine(after, settings)
    other.close()


Asked = Callable[[SwapRecord, SlotSettings], bool]


def red_teamed(patch: pytest.MonkeyPatch, ask: Asked = lambda record, settings: True) -> None:
    """Red teams of no question, for what is asked after one: `ask` gives the verdict."""

    def examine(self: SwapJudge, record: SwapRecord, settings: SlotSettings) -> RedTeamReport:
        check = RedTeamCheck("improvement", ask(record, settings), 0.1, 0.02, "no question asked")
        return RedTeamReport(
            old_digest=record.from_digest, new_digest=record.to_digest,
            base_digest=self.base.digest, held_out_digest=settings.held_out_digest,
            safety_digest=settings.safety_digest, policy=settings.policy.model_dump(mode="json"),
            suites=load_suites().digests, checks=(check,), regressions=(), quality={}, layers={},
            at=datetime.now(UTC).isoformat(), seconds=0.0,
        )  # fmt: skip

    patch.setattr(SwapJudge, "examine", examine)
    patch.setattr(SwapJudge, "fresh_evidence", lambda *_: None)


def test_a_key_revoked_while_the_red_team_ran_and_rules_made_stricter_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, store = trust_path(house.home), house.desk.store
    trusted = file.read_bytes()
    before = store.slot_settings("gates")
    asked: list[float] = []

    def write(settings: SlotSettings, **changes: Any) -> None:
        policy = settings.policy.model_copy(update=changes)
        store.write_slot(settings.model_copy(update={"policy": policy}))

    def revoked(record: SwapRecord, settings: SlotSettings) -> bool:
        revoke(file, house.signer.public.fingerprint, reason="stolen")
        return True

    def human(record: SwapRecord, settings: SlotSettings) -> bool:
        write(settings, approval="human_in_loop")
        return True

    def more(record: SwapRecord, settings: SlotSettings) -> bool:
        asked.append(settings.policy.min_improvement)
        write(settings, min_improvement=0.5)
        return settings.policy.min_improvement < 0.5

    def restless(record: SwapRecord, settings: SlotSettings) -> bool:
        write(settings, min_items=settings.policy.min_items + 1)
        return True

    red_teamed(monkeypatch, revoked)
    record = house.change("gates", "strong")
    write_private(file, trusted)
    assert (record.state, record.decision and record.decision.mode) == ("rejected", "load_gate")
    red_teamed(monkeypatch, human)
    assert house.change("gates", "strong").state == "awaiting_approval"
    store.write_slot(before)
    red_teamed(monkeypatch, more)
    record = house.change("gates", "strong")
    store.write_slot(before)
    assert asked == [0.02, 0.5]
    assert (record.state, record.decision and record.decision.mode) == ("rejected", "red_team")
    red_teamed(monkeypatch, restless)
    record = house.change("gates", "strong")
    store.write_slot(before)
    assert record.state == "rejected"
    assert "changed during each of 3 red teams" in record.reasons[0]
    assert house.desk.slot("gates")["is_base"]


def test_what_a_crash_left_is_decided_by_what_holds_now(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approval by rules is worth what they would say today, evidence what it was asked."""
    asked: list[tuple[str, str]] = []

    def note(record: SwapRecord, settings: SlotSettings) -> bool:
        asked.append((record.id, settings.safety_digest))
        return True

    def cut_off_before_the_move() -> SwapRecord:
        with monkeypatch.context() as patch:
            patch.setattr(SwapFlow, "carry_out", lambda self, record: record)
            return house.change("gates", "strong")

    def restarted(**options: Any) -> SwapRecord:
        house.host.stop()
        house.host = SwapHost(house.engine, house.server, home=house.home, **options)
        house.host.start()
        return house.desk.wait(record.id)

    red_teamed(monkeypatch, note)
    by_human = {
        "approval": "human_in_loop",
        "approvers": (house.approver.public.fingerprint,),
    }
    before = house.desk.store.slot_settings("gates")
    record = cut_off_before_the_move()
    assert record.state == "approved"
    waiting = restarted(**by_human)
    assert (waiting.state, waiting.decision, len(asked)) == ("awaiting_approval", None, 1)
    # What a human is shown has to be of the rules and data that hold when it is signed.
    house.desk.create_slot(
        "gates", held_out=held_out(count=20), safety_prompts=["Careful?"], by="tests"
    )
    with pytest.raises(UsageError, match="examined again"):
        house.desk.decide(record.id, sign_approval(house.approver, waiting, "approve"))
    waiting = house.desk.wait(record.id)
    assert (waiting.state, len(asked)) == ("awaiting_approval", 2)
    assert asked[0][1] != asked[1][1] == house.desk.store.slot_settings("gates").safety_digest
    no = house.desk.decide(record.id, sign_approval(house.approver, waiting, "reject", "no"))
    assert no.state == "rejected"
    house.desk.store.write_slot(before)
    restarted()
    # Too old, though of the same data and rules.
    record = cut_off_before_the_move()
    report = house.desk.store.read_report(record.id, "red_team.json")
    report["at"] = "2026-01-01T00:00:00+00:00"
    digest = house.desk.store.write_report(record.id, "red_team.json", json.dumps(report))
    house.desk.store.write_record(record.model_copy(update={"red_team_digest": digest}))
    assert (restarted().state, asked[-1][0], len(asked)) == ("applied", record.id, 4)
    house.desk.roll_back("gates", by="tests", reason="as before")
    # Nothing changed: it goes on without another red team.
    record = cut_off_before_the_move()
    assert (restarted().state, len(asked)) == ("applied", 5)
    house.desk.roll_back("gates", by="tests", reason="as before")


def test_a_slot_that_moved_is_never_called_unmoved(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied, failures = SwapFlow.applied, ["no space left", "no space left"]

    def crash(self: SwapFlow, record: SwapRecord, settings: SlotSettings) -> SwapRecord:
        raise ZeroDivisionError("division by zero")

    def full_disk(self: SwapFlow, record: SwapRecord, pause_s: float | None) -> SwapRecord:
        if failures:
            raise OSError(failures.pop())
        return applied(self, record, pause_s)

    red_teamed(monkeypatch)
    monkeypatch.setattr(SwapFlow, "applied", full_disk)
    with pytest.raises(OSError, match="no space"):
        house.change("gates", "strong")
    record = house.desk.swaps("gates")[-1]
    assert (record.state, house.desk.slot("gates")["digest"]) == ("approved", record.to_digest)
    house.host.stop()
    house.open()
    assert house.desk.wait(record.id).is_applied
    # A rollback that can't be examined is rejected, and not taken up again by the next host.
    monkeypatch.setattr(SwapFlow, "gate", crash)
    back = house.desk.roll_back("gates", by="tests", reason="")
    assert (back.state, back.reasons) == ("rejected", ("ZeroDivisionError: division by zero",))
    assert house.desk.slot("gates")["digest"] == record.to_digest


def test_a_host_whose_log_was_cut_off_moves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_it_is(self: SwapFlow, record: SwapRecord) -> SwapRecord:
        return record

    at = house.desk.slot("gates")["digest"]
    with monkeypatch.context() as patch:
        patch.setattr(SwapFlow, "carry_out", as_it_is)
        assert house.desk.roll_back("gates", by="tests", reason="").state == "approved"
    house.host.stop()
    log = house.home / "swaps" / LOG_NAME
    kept = log.read_bytes()
    log.write_bytes(b"".join(kept.splitlines(keepends=True)[:-3]))
    host = SwapHost(house.engine, house.server, home=house.home)
    with pytest.raises(VerificationError, match="cut off"):
        host.start()
    host.stop()
    assert house.engine.slots.get("gates").digest == at
    log.write_bytes(kept)
    house.open()
    assert house.desk.wait(house.desk.swaps("gates")[-1].id).is_applied
