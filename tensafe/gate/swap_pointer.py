"""Where slots point, and the one place from which they are moved.

The engine's database is the truth about what is live: a change and its history are one transaction
there. Every change made here names its swap in the history, so what happened can be told after a
crash from the history alone.
"""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensafe.errors import UsageError
from tensafe.gate.swap_records import SlotSettings, SwapRecord
from tensafe.gate.swap_store import SwapStore
from tensafe.gate.swap_targets import open_target
from tensafe.tgsp.canonical import canonical_json, sha256_hex

if TYPE_CHECKING:
    from tinker_engine.runtime.engine import Engine
    from tinker_engine.storage.slots import Slot

_DECIDED = re.compile(r"(?P<action>create|swap|rollback) (?P<id>[\w.-]+): ")


@dataclass(frozen=True)
class Standing:
    """What a slot has pointed at; `record` is the swap that put it there, None for the base."""

    digest: str
    record: SwapRecord | None


class SlotPointer:
    """Reads and moves the slots that were set up here; the others of the engine are not touched."""

    def __init__(self, engine: Engine, store: SwapStore) -> None:
        self._engine = engine
        self._store = store

    def slot(self, name: str) -> Slot:
        """A slot as the engine has it.

        Raises:
            NotFoundError: the engine has none of this name.
        """
        return self._engine.slots.get(name)

    def all(self) -> list[Slot]:
        """The slots that were set up here."""
        ours = {settings.name for settings in self._store.all_slots()}
        return [slot for slot in self._engine.slots.list() if slot.name in ours]

    def check_name(self, name: str) -> None:
        """Refuse names of the base; raises UsageError."""
        if name in self._engine.base.names:
            raise UsageError(f"{name!r} is a name of the base model; give the slot another")

    def create(self, settings: SlotSettings) -> None:
        """Point a new slot at the bare base; one that exists stays where it is."""
        from tinker_engine.errors import NotFoundError

        try:
            self._engine.slots.get(settings.name)
        except NotFoundError:
            digest = sha256_hex(canonical_json(settings.model_dump(mode="json")))
            decided_by = f"create {settings.name}: {settings.created_by}"
            admission = self._admission(digest, self._base_digest, None, decided_by)
            self._engine.slots.set(settings.name, None, expected=None, admission=admission)

    def damaged(self) -> list[tuple[str, str]]:
        """Slots whose files are not what their digests say, with the reason."""
        from tinker_engine.errors import EngineError

        found: list[tuple[str, str]] = []
        for slot in self.all():
            try:
                if not self._engine.slots.is_served(slot):
                    raise EngineError(f"made for base {slot.base_digest[:16]}, another one runs")
                self._engine.slots.verify(slot)
            except EngineError as error:
                found.append((slot.name, str(error)))
        return found

    def is_done(self, record: SwapRecord) -> bool:
        """Whether the engine's history says that this swap moved its slot."""
        from tinker_engine.errors import NotFoundError

        try:
            history = self._engine.slots.history(record.slot)
        except NotFoundError:
            return False
        return any(_id_of(change.decided_by) == record.id for change in history)

    def point(self, record: SwapRecord) -> float:
        """Move the slot as an approved record says; gives the pause of the engine in seconds.

        Raises:
            SlotConflictError: the slot points elsewhere by now.
            VerificationError, CheckpointError: the packages don't give what was decided on.
        """
        assert record.decision is not None
        slots, decided_by = self._engine.slots, f"{record.action} {record.id}: "
        decided_by += record.decision.decided_by
        if record.to_base:
            report = sha256_hex(canonical_json(record.model_dump(mode="json")))
            admission = self._admission(report, self._base_digest, None, decided_by)
            slots.set(record.slot, None, expected=record.from_digest, admission=admission)
            return slots.last_pause_s
        report = record.gate_reports[0]
        with tempfile.TemporaryDirectory(prefix="tensafe-swap-") as scratch:
            target = open_target(self._store, record, Path(scratch))
            admission = self._admission(report, target.digest, target.config_digest, decided_by)
            if target.document is None:
                slots.set(
                    record.slot,
                    target.folders[0],
                    expected=record.from_digest,
                    admission=admission,
                )
            else:
                slots.set_group(
                    record.slot,
                    target.document,
                    target.folders,
                    expected=record.from_digest,
                    admission=admission,
                )
        return slots.last_pause_s

    def standings(self, name: str) -> list[Standing]:
        """What the slot stands on, oldest first, the last one live: swaps push, rollbacks pop."""
        stack: list[Standing] = []
        records = {record.id: record for record in self._store.records()}
        for change in self._engine.slots.history(name):
            record = records.get(_id_of(change.decided_by) or "")
            is_back = record is not None and record.action == "rollback"
            digests = [standing.digest for standing in stack]
            if is_back and change.digest in digests:
                # The last of several: what was live twice was left between.
                del stack[len(digests) - digests[::-1].index(change.digest) :]
                continue
            is_base = change.digest == change.base_digest
            stack.append(Standing(change.digest, None if is_base else record))
        return stack

    def before_last_swap(self, name: str) -> Standing:
        """What a rollback goes back to.

        Raises:
            UsageError: there is nothing before, or it was not put there by a swap of this host.
        """
        stack = self.standings(name)
        if len(stack) < 2:
            raise UsageError(f"slot {name!r} has had no swap since it was set up: nothing to undo")
        before = stack[-2]
        if before.record is None and before.digest != self._base_digest:
            raise UsageError(
                f"slot {name!r} pointed at {before.digest[:16]} before, which no swap of this host "
                "put there: its package is not known"
            )
        return before

    def answering(self, name: str) -> tuple[str, ...]:
        """The digests that answers of this slot carry now."""
        return self._answers_of(self.standings(name)[-1])

    def answered_before(self, name: str) -> tuple[str, ...]:
        """The digests that answers carried before the last swap; none for a new slot."""
        stack = self.standings(name)
        return self._answers_of(stack[-2]) if len(stack) > 1 else ()

    def described(self, name: str) -> dict[str, Any]:
        """A slot for people and programs."""
        slot = self._engine.slots.get(name)
        history = self._engine.slots.history(name)
        stack = self.standings(name)
        record = stack[-1].record
        return {
            **asdict(slot),
            "is_base": slot.is_base,
            "is_set": slot.is_set,
            "decided_by": history[-1].decided_by,
            "changes": len(history),
            "swap": "" if record is None else record.id,
            "members": [] if record is None else [m.skill_name for m in record.members],
            "goes_back_to": stack[-2].digest if len(stack) > 1 else "",
        }

    @property
    def _base_digest(self) -> str:
        return self._engine.base_info.digest

    def _answers_of(self, standing: Standing) -> tuple[str, ...]:
        record = standing.record
        if record is None or record.kind != "gated":
            return (standing.digest,)
        return (*(member.adapter_digest for member in record.members), self._base_digest)

    def _admission(
        self, report: str, digest: str, config_digest: str | None, decided_by: str
    ) -> Any:
        from tinker_engine.runtime.slots import Admission

        return Admission(report, digest, config_digest, decided_by, time.time())


def _id_of(decided_by: str) -> str | None:
    found = _DECIDED.match(decided_by)
    return None if found is None else found["id"]
