"""The desk at which every change of a live slot is asked for, examined, decided and carried out.

A request passes the load gate, then the red team, then its approval; only then does the slot move,
in one transaction of the engine. Every step is written down before the next begins, and an open
request goes on where it stood when the process comes back. A rejection leaves an incident.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensafe.data.records import Example
from tensafe.errors import GateRefusedError, UsageError
from tensafe.gate import incident as incidents
from tensafe.gate.approval import read_approval
from tensafe.gate.live_quality import LiveVerdict, judge_live
from tensafe.gate.swap_flow import HostRules, Notify, SwapFlow, quiet, rollback_by, words
from tensafe.gate.swap_judge import SwapJudge
from tensafe.gate.swap_pointer import SlotPointer
from tensafe.gate.swap_records import (
    ApprovalMode,
    Decision,
    Otherwise,
    SlotSettings,
    SwapKind,
    SwapPolicy,
    SwapRecord,
)
from tensafe.gate.swap_reproduction import reproduce
from tensafe.gate.swap_sets import choose
from tensafe.gate.swap_store import SwapStore, new_id, prompts_as_examples
from tensafe.gate.swap_worker import Worker
from tensafe.tgsp.keys import now
from tensafe.tgsp.trust import TrustStore

if TYPE_CHECKING:
    from tinker_engine.connect import Connection
    from tinker_engine.runtime.engine import Engine

_log = logging.getLogger(__name__)
_BY_QUALITY = "tensafe live quality"
_RETRY_AFTER = timedelta(minutes=10)
_STOP_TIMEOUT_S = 5.0


class SwapDesk:
    """All swaps of one engine. Methods may be called from any thread.

    Examinations run one at a time on a thread of the desk's own. `notify` is called after every
    step that was written down, with its name: requested, gated, red_teamed, reopened,
    awaiting_approval, approved, pointed, applied, rejected.
    """

    def __init__(
        self,
        engine: Engine,
        connect: Callable[[], Connection],
        store: SwapStore,
        trust: Callable[[], TrustStore],
        *,
        approval: ApprovalMode = "meta_agent",
        approvers: Sequence[str] = (),
        notify: Notify = quiet,
    ) -> None:
        engine.slots.use_router(choose)
        self.store = store
        self._engine = engine
        self._trust = trust
        self._judge = SwapJudge(store, connect, trust)
        self._pointer = SlotPointer(engine, store)
        self._flow = SwapFlow(
            store, self._judge, self._pointer, HostRules(approval, approvers), notify
        )
        self._worker = Worker("tensafe-swaps")
        self._running: dict[str, Future[SwapRecord]] = {}

    def open(self) -> list[str]:
        """Check what is live against its digests and go on with what is open; gives damaged slots.

        Called once, before anybody else calls.
        """
        for settings in self.store.all_slots():
            self._pointer.create(settings)
        damaged = self._pointer.damaged()
        for name, why in damaged:
            self.store.audit.append("slot_damaged", {"slot": name, "why": why})
            _log.error("slot %s is damaged: %s", name, why)
            incidents.write_incident(self.store, incidents.damaged(name, why))
        # Before anything may move: a log that takes no entry stops the host here.
        self.store.audit.append(
            "opened", {"slots": {s.name: s.digest for s in self._pointer.all()}}
        )
        gone = {name for name, _ in damaged}
        live = [slot for slot in self.store.all_slots() if slot.name not in gone]
        self._worker.submit(lambda: self._tell_unwanted(live))
        for record in self.store.records():
            if not record.is_final and record.state != "awaiting_approval":
                self._start(record.id)
        return [name for name, _ in damaged]

    def _tell_unwanted(self, slots: Sequence[SlotSettings]) -> None:
        """An incident for each live adapter that the gate would not let in today.

        It stays where it is, since going back is a change that somebody answers for: a revoked key
        says nothing yet of what the adapter before was worth.
        """
        from tinker_engine.errors import ServerUnavailableError

        for settings in slots:
            record = self._pointer.standings(settings.name)[-1].record
            if record is None:
                continue
            try:
                faults = self._judge.admit(record, settings).faults
            # The engine is going down: the next start looks again.
            except ServerUnavailableError:
                _log.warning("what slot %s answers with was not judged: no engine", settings.name)
                return
            # What can't be judged would not be let in either.
            except Exception as error:
                _log.exception("what slot %s answers with could not be judged", settings.name)
                faults = (f"could not be judged: {type(error).__name__}: {error}",)
            if faults:
                self.store.audit.append(
                    "slot_unwanted",
                    {"slot": settings.name, "swap": record.id, "why": words(faults[0])},
                )
                _log.error("slot %s would not be let in today: %s", settings.name, faults[0])
                incidents.write_incident(self.store, incidents.unwanted(record, faults))

    def close(self) -> None:
        """Stop; an examination at hand is run again at the next start."""
        self._worker.stop(_STOP_TIMEOUT_S)
        self._judge.close()

    def create_slot(
        self,
        name: str,
        *,
        held_out: Sequence[Example],
        safety_prompts: Sequence[str] | None = None,
        policy: SwapPolicy | None = None,
        by: str,
    ) -> SlotSettings:
        """Set a slot up, or change how an existing one is judged; a new one points at the base.

        Without `safety_prompts` or `policy` an existing slot keeps its own: nothing that guards it
        falls away unsaid.

        Raises:
            UsageError: too few held-out examples, a bad name, a human mode without approvers, or
                approvers whom the host doesn't name.
        """
        existing = {settings.name: settings for settings in self.store.all_slots()}.get(name)
        given = policy or (SwapPolicy() if existing is None else existing.policy)
        policy = self._flow.rules.over(given)
        if policy.approval == "human_in_loop" and not policy.approvers:
            raise UsageError(
                "human_in_loop needs the fingerprint of at least one approver "
                "(`tensafe keys list` shows them)"
            )
        if strangers := self._flow.rules.strangers(given):
            raise UsageError(
                f"this host lets {', '.join(self._flow.rules.approvers)} approve; a slot can't "
                f"name {', '.join(strangers)}"
            )
        distinct = {example.digest: example for example in held_out}
        if len(distinct) < policy.min_items:
            raise UsageError(
                f"slot {name!r}: {len(distinct)} different held-out examples; the policy needs "
                f"{policy.min_items}"
            )
        settings = SlotSettings(
            name=name,
            policy=policy,
            held_out_digest=self.store.add_examples(distinct.values()),
            held_out_items=len(distinct),
            safety_digest=existing.safety_digest
            if existing is not None and safety_prompts is None
            else self.store.add_examples(
                prompts_as_examples(list(dict.fromkeys(safety_prompts or ())), "safety prompts")
            ),
            created_by=words(by),
            created_at=now(),
        )
        with self._flow.changing:
            self._pointer.check_name(name)
            self.store.write_slot(settings)
            self.store.audit.append("slot_set_up", settings.model_dump(mode="json"))
            self._pointer.create(settings)
        return settings

    def request(
        self,
        slot: str,
        packages: Sequence[Path | str],
        *,
        kind: SwapKind = "linear",
        otherwise: Otherwise = "first",
        by: str,
        reason: str = "",
    ) -> SwapRecord:
        """Ask for a change of a slot; a package is a file, or the digest of a kept one.

        The examination goes on in the background: see `wait`.

        Raises:
            UsageError: unknown slot or package, or a number of packages that the kind can't have.
        """
        self.store.slot_settings(slot)
        digests = [
            self.store.add_package(package) if isinstance(package, Path) else package
            for package in packages
        ]
        for digest in digests:
            self.store.package(digest)
        if (kind == "linear") != (len(packages) == 1):
            raise UsageError(f"a {kind} swap can't be made of {len(packages)} package(s)")
        record = SwapRecord(
            id=new_id(),
            slot=slot,
            action="swap",
            kind=kind,
            state="requested",
            requested_by=words(by),
            requested_at=now(),
            reason=words(reason),
            packages=tuple(digests),
            otherwise=otherwise,
            from_digest=self._pointer.slot(slot).digest,
        )
        self._flow.step("requested", record)
        self._start(record.id)
        return record

    def status(self, swap_id: str) -> SwapRecord:
        """Where a swap stands; an approval that is overdue shows as expired."""
        record = self.store.record(swap_id)
        if record.state == "awaiting_approval" and _is_over(record.expires_at):
            with self._flow.changing:
                record = self.store.record(swap_id)
                if record.state == "awaiting_approval":
                    record = self._flow.step(
                        "expired", record.model_copy(update={"state": "expired"})
                    )
        return record

    def swaps(self, slot: str | None = None) -> list[SwapRecord]:
        """All swaps, or those of one slot, oldest first."""
        records = [self.status(record.id) for record in self.store.records()]
        return [record for record in records if slot in (None, record.slot)]

    def wait(self, swap_id: str, timeout_s: float | None = None) -> SwapRecord:
        """Wait until a swap is decided or waits for a human; gives where it stands then."""
        future = self._running.get(swap_id)
        if future is not None:
            with contextlib.suppress(TimeoutError):
                future.result(timeout_s)
        return self.status(swap_id)

    def decide(self, swap_id: str, document: bytes) -> SwapRecord:
        """Take a human's signed verdict; an approval moves the slot before this returns.

        Raises:
            UsageError: the swap doesn't wait for an approval, or the slot's data or rules are
                others than its red team's: it is examined again.
            VerificationError: the document is not a valid verdict of an approver on this swap.
        """
        with self._flow.changing:
            record = self.status(swap_id)
            if record.state != "awaiting_approval":
                raise UsageError(f"swap {swap_id} is {record.state}: it waits for no approval")
            settings = self.store.slot_settings(record.slot)
            approval = read_approval(
                document, record, self._flow.rules.over(settings.policy).approvers, self._trust(),
                at=datetime.now(UTC),
            )  # fmt: skip
            is_yes = approval.verdict == "approve"
            if is_yes and not self._judge.is_current(record, settings):
                self._flow.reopened(record)
                self._start(record.id)
                raise UsageError(
                    f"data or rules of slot {record.slot!r} changed after the red team of swap "
                    f"{record.id}: it is examined again; approve what comes out of that"
                )
            self.store.write_report(record.id, "approval.json", document.decode("ascii"))
            decision = Decision(
                verdict="approved" if is_yes else "rejected",
                decided_by=f"{approval.approver} ({approval.fingerprint[:16]})",
                mode="human_in_loop",
                rules=("an approver's signature over this swap and its evidence verifies",),
                reasons=() if is_yes else (approval.reason or "no reason was given",),
                at=now(),
                approval_digest=approval.digest,
            )
            if is_yes:
                record = self._flow.still_admitted(record, settings)
                if record.is_final:
                    return record
                return self._flow.carry_out(self._flow.approved(record, decision))
            failure = incidents.Failure(stage="approval", check="human", reason=decision.reasons[0])
            return self._flow.reject(record, decision, [failure], [])

    def roll_back(
        self, slot: str, *, by: str, reason: str, is_automatic: bool = False
    ) -> SwapRecord:
        """Point a slot back at what it answered with before its last swap.

        What it goes back to passes the load gate again. In human mode the record then waits for a
        signature, unless live quality fell and the policy lets the desk act on that.

        Raises:
            UsageError: there is nothing to go back to.
        """
        with self._flow.changing:
            settings = self.store.slot_settings(slot)
            back = self._pointer.before_last_swap(slot)
            record = SwapRecord(
                id=new_id(),
                slot=slot,
                action="rollback",
                kind="linear" if back.record is None else back.record.kind,
                state="requested",
                requested_by=words(by),
                requested_at=now(),
                reason=words(reason),
                packages=() if back.record is None else back.record.packages,
                otherwise="first" if back.record is None else back.record.otherwise,
                from_digest=self._pointer.slot(slot).digest,
                to_digest=back.digest,
                to_base=back.record is None,
            )
            record = self._flow.step("requested", record)
            try:
                record = self._flow.gate(record, settings)
            # As for a swap: what couldn't be examined is rejected, and not taken up again later.
            except Exception as error:
                _log.exception("rollback %s could not be examined", record.id)
                return self._flow.broken(record.id, error)
            if record.is_final:
                return record
            policy = self._flow.rules.over(settings.policy)
            if policy.approval == "human_in_loop" and not is_automatic:
                return self._flow.await_human(record, settings)
            decision = rollback_by(record, is_automatic=is_automatic)
            return self._flow.carry_out(self._flow.approved(record, decision))

    def score(self, slot: str, digest: str, score: float) -> LiveVerdict:
        """Take in the score of one live answer, in [0, 1]; may take the slot back.

        Raises:
            UsageError: unknown slot, or a score outside [0, 1].
        """
        settings = self.store.slot_settings(slot)
        if not 0.0 <= score <= 1.0:
            raise UsageError(f"a score lies in [0, 1], not {score}")
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise UsageError(f"{digest[:80]!r} is not a digest: give the x-adapter-digest header")
        with self._flow.changing:
            self.store.add_score(slot, digest, score)
            verdict = self.live_quality(slot)
            policy = settings.policy
            if not verdict.has_fallen or not policy.automatic_rollback or self._is_stuck(slot):
                return verdict
            return self._take_back(slot, verdict)

    def live_quality(self, slot: str) -> LiveVerdict:
        """What the scores say of what the slot answers with now."""
        policy = self.store.slot_settings(slot).policy
        live = self._pointer.slot(slot)
        current = self._pointer.answering(slot)
        before = self._pointer.answered_before(slot)
        return judge_live(
            live.digest,
            [score for digest in current for score in self.store.scores(slot, digest)],
            [score for digest in before for score in self.store.scores(slot, digest)],
            tolerance=policy.live_tolerance,
            alpha=policy.live_alpha,
            needed=policy.live_baseline_items,
        )

    def slots(self) -> list[dict[str, Any]]:
        """Every slot of this host: where it points, who decided, how it is judged."""
        return [self.slot(settings.name) for settings in self.store.all_slots()]

    def slot(self, name: str) -> dict[str, Any]:
        """One slot; raises UsageError."""
        settings = self.store.slot_settings(name)
        return {
            **self._pointer.described(name),
            "held_out_items": settings.held_out_items,
            "policy": self._flow.rules.over(settings.policy).model_dump(mode="json"),
        }

    def reproduce(self, swap_id: str) -> dict[str, Any]:
        """Examine a decided swap again from its kept packages; both verdicts and all figures."""
        record = self.store.record(swap_id)
        settings = self.store.slot_settings(record.slot)
        return self._worker.submit(
            lambda: reproduce(record, settings, self._judge, self.store)
        ).result()

    def _is_stuck(self, slot: str) -> bool:
        """Whether going back was refused a moment ago: it is told once, and tried again later."""
        last = next(reversed(self.swaps(slot)), None)
        if last is None or last.requested_by != _BY_QUALITY or last.state != "rejected":
            return False
        return not _is_over(last.requested_at, _RETRY_AFTER)

    def _take_back(self, slot: str, verdict: LiveVerdict) -> LiveVerdict:
        try:
            record = self.roll_back(
                slot, by=_BY_QUALITY, is_automatic=True,
                reason=f"mean {verdict.mean:.3f} of {verdict.items} live answers, below "
                f"{verdict.floor:.3f}",
            )  # fmt: skip
        except UsageError as error:
            _log.warning("slot %s fell, and there is nothing to go back to: %s", slot, error)
            return verdict
        if not record.is_applied:
            # Its rejection has an incident of its own: nothing was taken back.
            _log.error("slot %s fell and could not be taken back: %s", slot, record.reasons)
            return verdict
        incidents.write_incident(self.store, incidents.fallen(record, verdict))
        return replace(verdict, rolled_back_by=record.id)

    def _start(self, swap_id: str) -> None:
        self._running[swap_id] = self._worker.submit(lambda: self._examined(swap_id))

    def _examined(self, swap_id: str) -> SwapRecord:
        try:
            return self._flow.examine(swap_id)
        finally:
            self._running.pop(swap_id, None)


def require_applied(record: SwapRecord) -> None:
    """Demand a swap that took effect.

    Raises:
        GateRefusedError: it did not; the message says why and where the incident is.
    """
    if not record.is_applied:
        reasons = "".join(f"\n  {reason}" for reason in record.reasons)
        where = f"\n  incident {record.incident}" if record.incident else ""
        raise GateRefusedError(
            f"swap {record.id} of slot {record.slot} is {record.state}:{reasons}{where}"
        )


def _is_over(moment: str, after: timedelta = timedelta()) -> bool:
    return datetime.fromisoformat(moment) + after <= datetime.now(UTC)
