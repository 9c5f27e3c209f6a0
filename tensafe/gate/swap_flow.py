"""The way of one swap: load gate, red team, approval, and the slot's move, each written down.

A step is a new record, then a line of the audit log, then a notice; a crash between any two leaves
an open record that `examine` takes up again. Nothing is skipped: what can't be examined is
rejected, and a rejection has its incident before it shows.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tensafe.errors import UsageError
from tensafe.gate import incident as incidents
from tensafe.gate.swap_judge import RED_TEAM_FILE, Admitted, SwapJudge
from tensafe.gate.swap_pointer import SlotPointer
from tensafe.gate.swap_records import (
    ApprovalMode,
    Decision,
    SlotSettings,
    SwapPolicy,
    SwapRecord,
)
from tensafe.gate.swap_store import SwapStore
from tensafe.tgsp.keys import now
from tensafe.tgsp.text import one_line

_log = logging.getLogger(__name__)
_LONGEST_WORDS = 500
_MOST_RED_TEAMS = 3
Notify = Callable[[str, SwapRecord], None]


def quiet(step: str, record: SwapRecord) -> None:
    """A notice that nobody wants."""


@dataclass(frozen=True)
class HostRules:
    """What holds for all slots of a host, whatever their own policies say."""

    approval: ApprovalMode = "meta_agent"
    approvers: Sequence[str] = ()

    def over(self, policy: SwapPolicy) -> SwapPolicy:
        """The slot's policy under the host's: a human is asked where either says so.

        A slot may name some of the host's approvers, and nobody else where the host names any.
        """
        update: dict[str, Any] = {}
        if self.approval == "human_in_loop":
            update["approval"] = "human_in_loop"
        if self.approvers:
            named = tuple(one for one in policy.approvers if one in self.approvers)
            update["approvers"] = named or tuple(self.approvers)
        return policy.model_copy(update=update)

    def strangers(self, policy: SwapPolicy) -> tuple[str, ...]:
        """The approvers of a slot's policy whom a host that names some doesn't know."""
        return tuple(
            one for one in policy.approvers if self.approvers and one not in self.approvers
        )


class SwapFlow:
    """Takes swaps from step to step; `changing` is held while a slot may move."""

    def __init__(
        self,
        store: SwapStore,
        judge: SwapJudge,
        pointer: SlotPointer,
        rules: HostRules,
        notify: Notify,
    ) -> None:
        self.store = store
        self.rules = rules
        self.changing = threading.RLock()
        self._judge = judge
        self._pointer = pointer
        self._notify = notify

    def tell(self, name: str, record: SwapRecord) -> None:
        """Give notice of a step that was written down."""
        self._notify(name, record)

    def examine(self, swap_id: str) -> SwapRecord:
        """Take an open swap as far as it goes without a human."""
        record = self.store.record(swap_id)
        try:
            if record.state == "approved" and self._pointer.is_done(record):
                return self.applied(record, None)
            settings = self.store.slot_settings(record.slot)
            # Left open by a process that ended; what a human signed is good for as long as it was.
            hours = None if _is_signed(record) else settings.policy.evidence_hours
            if record.red_team_passed is not None and not self._judge.is_current(
                record, settings, hours=hours
            ):
                record = self.reopened(record)
            for _ in range(_MOST_RED_TEAMS):
                record = self.gate(record, settings)
                if not record.is_final and record.action != "rollback":
                    record = self.red_team(record, settings)
                if record.is_final:
                    return record
                with self.changing:
                    # A red team takes its time: data and rules may be others and a key revoked.
                    settings = self.store.slot_settings(record.slot)
                    if self._judge.is_current(record, settings):
                        return self._decided(record, settings)
                    record = self.reopened(record)
            raise UsageError(
                f"data or rules of slot {record.slot!r} changed during each of {_MOST_RED_TEAMS} "
                "red teams; ask for the swap again"
            )
        # The edge where a crash becomes a rejection: what couldn't be examined is not let in.
        except Exception as error:
            _log.exception("swap %s could not be examined", swap_id)
            return self.broken(swap_id, error)

    def _decided(self, record: SwapRecord, settings: SlotSettings) -> SwapRecord:
        """Ask a human, or move the slot: an approval by rules holds while they would give it."""
        by_rules = record.decision is None or record.decision.mode in ("meta_agent", "operator")
        if by_rules and self.rules.over(settings.policy).approval == "human_in_loop":
            return self.await_human(record, settings)
        record = self.still_admitted(record, settings)
        if record.is_final:
            return record
        if record.state != "approved":
            record = self.approved(record, _by_rules(record))
        return self.carry_out(record)

    def reopened(self, record: SwapRecord) -> SwapRecord:
        """Take back evidence of other data or rules, or too old, with what was decided by it."""
        return self.step(
            "reopened",
            record.model_copy(
                update={
                    "state": "requested",
                    "red_team_digest": "",
                    "red_team_passed": None,
                    "red_team_reused_from": "",
                    "figures": {},
                    "decision": None,
                    "expires_at": "",
                }
            ),
        )

    def gate(self, record: SwapRecord, settings: SlotSettings) -> SwapRecord:
        """The load gate; a record that comes back final was rejected."""
        if record.gate_accepted or record.to_base:
            return record
        admitted = self._judge.admit(record, settings)
        digests = tuple(
            self.store.write_report(record.id, f"gate-{place}.json", report.to_json())
            for place, report in enumerate(admitted.reports)
        )
        target = admitted.target
        update: dict[str, Any] = {"gate_reports": digests, "gate_accepted": not admitted.faults}
        if target is not None:
            update |= {"to_digest": target.digest, "members": target.members}
        record = self.step("gated", record.model_copy(update=update))
        if target is None:
            return self._refused(record, admitted)
        if target.digest != record.from_digest:
            return record
        fault = "the slot answers with this very adapter already"
        return self._refused(record, Admitted(admitted.reports, None, (fault,)))

    def still_admitted(self, record: SwapRecord, settings: SlotSettings) -> SwapRecord:
        """The load gate again, for what is approved after it: a key may be revoked by now."""
        if record.to_base:
            return record
        admitted = self._judge.admit(record, settings)
        return self._refused(record, admitted) if admitted.faults else record

    def _refused(self, record: SwapRecord, admitted: Admitted) -> SwapRecord:
        decision = Decision(
            verdict="rejected", decided_by="load gate", mode="load_gate",
            rules=("every package passes all seven steps",),
            reasons=tuple(words(fault) for fault in admitted.faults[:20]), at=now(),
        )  # fmt: skip
        reports = [json.loads(report.to_json()) for report in admitted.reports]
        failures = incidents.gate_failures(reports, admitted.faults)
        return self.reject(record, decision, failures, [])

    def red_team(self, record: SwapRecord, settings: SlotSettings) -> SwapRecord:
        """The red team, or fresh evidence of an earlier one of the same pair.

        A verdict that the record holds already is believed: see `is_current`.
        """
        if record.red_team_passed is None:
            earlier = self._judge.fresh_evidence(record, settings)
            if earlier is not None:
                text, passed, figures = earlier.text, earlier.passed, earlier.figures
            else:
                report = self._judge.examine(record, settings)
                text, passed, figures = report.to_json(), report.passed, report.figures
            digest = self.store.write_report(record.id, RED_TEAM_FILE, text)
            record = self.step(
                "red_teamed",
                record.model_copy(
                    update={
                        "red_team_digest": digest,
                        "red_team_passed": passed,
                        "red_team_reused_from": "" if earlier is None else earlier.swap,
                        "figures": figures,
                    }
                ),
            )
        if record.red_team_passed:
            return record
        stored = self.store.read_report(record.id, RED_TEAM_FILE)
        failures, exhibits = incidents.red_team_failures(stored)
        decision = Decision(
            verdict="rejected", decided_by="red team", mode="red_team",
            rules=("every check of the red team passes",),
            reasons=tuple(f"{f.check}: {f.reason}"[:_LONGEST_WORDS] for f in failures[:20]),
            at=now(),
        )  # fmt: skip
        return self.reject(record, decision, failures, exhibits)

    def await_human(self, record: SwapRecord, settings: SlotSettings) -> SwapRecord:
        """Leave the swap to a human, for as long as the policy says."""
        until = datetime.now(UTC) + timedelta(hours=settings.policy.approval_hours)
        update = {
            "state": "awaiting_approval",
            "decision": None,
            "expires_at": until.isoformat(timespec="seconds"),
        }
        return self.step("awaiting_approval", record.model_copy(update=update))

    def approved(self, record: SwapRecord, decision: Decision) -> SwapRecord:
        """Write an approval down."""
        update = {"state": "approved", "decision": decision}
        return self.step("approved", record.model_copy(update=update))

    def carry_out(self, record: SwapRecord) -> SwapRecord:
        """Move the slot, unless it points elsewhere by now; done twice it changes nothing."""
        with self.changing:
            if self._pointer.is_done(record):
                return self.applied(record, None)
            if self._pointer.slot(record.slot).digest != record.from_digest:
                return self.step("superseded", record.model_copy(update={"state": "superseded"}))
            try:
                pause_s = self._pointer.point(record)
            except Exception as error:
                _log.exception("swap %s was approved and could not be carried out", record.id)
                return self.broken(record.id, error)
            self.tell("pointed", record)
            return self.applied(record, pause_s)

    def applied(self, record: SwapRecord, pause_s: float | None) -> SwapRecord:
        """Write down that the slot moved; no pause is known of a move that a crash hid."""
        update = {
            "state": "applied",
            "applied_at": now(),
            "pause_ms": None if pause_s is None else round(1000 * pause_s, 3),
        }
        return self.step("applied", record.model_copy(update=update))

    def broken(self, swap_id: str, error: Exception) -> SwapRecord:
        """Reject what could not be examined or loaded; a slot that moved is never called unmoved.

        Raises:
            DataError: the record can't be read or written; it stays open then.
        """
        record = self.store.record(swap_id)
        if self._pointer.is_done(record):
            return self.applied(record, None)
        why = words(f"{type(error).__name__}: {error}")
        decision = Decision(
            verdict="rejected", decided_by="tensafe", mode="engine",
            rules=("what can't be examined or loaded is not let in",), reasons=(why,), at=now(),
        )  # fmt: skip
        failure = incidents.Failure(stage="engine", check=type(error).__name__, reason=why)
        return self.reject(record, decision, [failure], [])

    def reject(
        self,
        record: SwapRecord,
        decision: Decision,
        failures: list[incidents.Failure],
        exhibits: list[incidents.Exhibit],
    ) -> SwapRecord:
        """The incident first: a swap that is shown as rejected has one."""
        record = record.model_copy(update={"decision": decision})
        incident = incidents.rejected(self.store, record, failures, exhibits)
        update = {"state": "rejected", "incident": incident.id}
        return self.step("rejected", record.model_copy(update=update))

    def step(self, name: str, record: SwapRecord) -> SwapRecord:
        """Write the record down, then log it, then tell."""
        self.store.write_record(record)
        self.store.audit.append(
            name,
            {
                "swap": record.id,
                "slot": record.slot,
                "action": record.action,
                "from": record.from_digest,
                "to": record.to_digest,
                "packages": list(record.packages),
                "gate_reports": list(record.gate_reports),
                "red_team": record.red_team_digest,
                "by": record.requested_by,
                "decision": None
                if record.decision is None
                else record.decision.model_dump(mode="json"),
                "incident": record.incident,
            },
        )
        self.tell(name, record)
        return record


def words(text: str) -> str:
    """What people said, on one line of bounded length."""
    return one_line(text)[:_LONGEST_WORDS]


def rollback_by(record: SwapRecord, *, is_automatic: bool) -> Decision:
    """The decision on a rollback that needs no signature."""
    return Decision(
        verdict="approved",
        decided_by=record.requested_by,
        mode="live_quality" if is_automatic else "operator",
        rules=("what was live before passes the load gate again",),
        at=now(),
    )


def _is_signed(record: SwapRecord) -> bool:
    return record.decision is not None and record.decision.mode == "human_in_loop"


def _by_rules(record: SwapRecord) -> Decision:
    if record.action == "rollback":
        return rollback_by(record, is_automatic=False)
    return Decision(
        verdict="approved",
        decided_by="meta_agent",
        mode="meta_agent",
        rules=(
            "every package passed all seven steps of the load gate",
            "every check of the red team passed",
            "the slot still points where it did when the swap was asked for",
        ),
        at=now(),
    )
