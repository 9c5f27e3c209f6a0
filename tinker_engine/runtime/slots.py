"""Live slots: names under `/v1` that point at an adapter's digest, or at the bare base.

A slot moves in one step and only with an `Admission`: the record of the gate that examined this
very adapter. There is no other way in, and none over HTTP; the program that embeds the engine calls
`Engine.slots.set` after its gate. A request is pinned to the digest it began with: its adapter
stays on disk and answers until the request ends, wherever the slot points meanwhile.

    admission = Admission(report_digest, adapter_digest, config_digest, "gate", time.time())
    engine.slots.set("support", folder, expected=None, admission=admission)

Invariants: a crash leaves a slot pointing where it did or where it should, never nowhere; a slot
whose adapter can't be loaded answers with an error, never with the base.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinker_engine.errors import AdmissionError, NotFoundError, RequestError, SlotConflictError
from tinker_engine.runtime.adapter_shelf import AdapterIdentity, AdapterShelf, identify
from tinker_engine.runtime.names import OfferedBase
from tinker_engine.runtime.records import BaseInfo
from tinker_engine.runtime.sampling_sessions import Samplers
from tinker_engine.storage.slots import Slot, SlotChange, SlotStore

logger = logging.getLogger(__name__)

BASE_SAMPLER = "served:base"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CLOCK_SKEW_S = 300.0


@dataclass(frozen=True)
class Admission:
    """That a gate let this adapter in: digests are hex SHA-256, `decided_at` seconds since 1970.

    `adapter_digest` is that of adapter_model.safetensors and `config_digest` that of
    adapter_config.json; to point a slot at the bare base they are the base's digest and None.
    """

    gate_report_digest: str
    adapter_digest: str
    config_digest: str | None
    decided_by: str
    decided_at: float


class Slots:
    """All live slots of one engine; methods may be called from any thread but the compute thread.

    `on_compute_thread` runs something there and waits, `later` runs it there in its turn.
    """

    def __init__(
        self,
        store: SlotStore,
        shelf: AdapterShelf,
        samplers: Samplers,
        offered: OfferedBase,
        base: BaseInfo,
        on_compute_thread: Callable[[Callable[[], Any]], Any],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._samplers = samplers
        self._offered = offered
        self._base = base
        self._on_compute_thread = on_compute_thread
        self._later = later
        self._slots = {slot.name: slot for slot in store.slots()}
        self._pins: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._changing = threading.Lock()

    def list(self) -> list[Slot]:
        """All slots, by name, those of other bases included."""
        with self._lock:
            return [self._slots[name] for name in sorted(self._slots)]

    def get(self, name: str) -> Slot:
        """One slot; raises NotFoundError."""
        with self._lock:
            slot = self._slots.get(name)
        if slot is None:
            raise NotFoundError(f"there is no live slot {name!r}")
        return slot

    def history(self, name: str) -> list[SlotChange]:
        """Every change of a slot, oldest first; raises NotFoundError."""
        self.get(name)
        return self._store.history(name)

    def is_served(self, slot: Slot) -> bool:
        """Whether a slot was made for the base that runs here."""
        return slot.base_digest == self._base.digest

    def adapter_folder(self, slot: Slot, digest: str) -> Path:
        """The files of a slot's current adapter or of the one before it, to roll back to.

        Raises NotFoundError for other digests, which are not kept.
        """
        folder = self._shelf.folder(digest)
        if digest not in (slot.digest, slot.previous_digest) or not folder.is_dir():
            raise NotFoundError(f"slot {slot.name!r} keeps no adapter {digest}")
        return folder

    def set(
        self,
        name: str,
        adapter_folder: Path | None,
        *,
        expected: str | None,
        admission: Admission,
    ) -> Slot:
        """Point a slot at an adapter (None: at the bare base), if it still points at `expected`.

        `expected` is the digest that the caller believes it points at, None for a new slot. The
        adapter is loaded before the slot moves, so the first request after it waits for nothing.

        Raises AdmissionError unless the admission names this adapter, SlotConflictError when the
        slot points elsewhere, CheckpointError when the adapter doesn't fit the base, and
        RequestError for a bad name. Nothing has changed then.
        """
        self._check_name(name)
        identity = None if adapter_folder is None else identify(adapter_folder)
        digest = self._base.digest if identity is None else identity.digest
        _check_admission(admission, digest, identity)
        with self._changing:
            self._check_expected(name, expected)
            self._pin(digest)
            try:
                if adapter_folder is not None and identity is not None:
                    self._shelf.put(adapter_folder, identity)
                self._load(digest, identity)
                return self._move(name, digest, identity, admission)
            finally:
                self._unpin(digest)

    def pin(self, name: str) -> Slot:
        """Where a slot points now; its adapter stays until `release` is called with the answer.

        Raises NotFoundError, also for a slot that was made for another base.
        """
        with self._lock:
            slot = self._slots.get(name)
            if slot is None or not self.is_served(slot):
                raise NotFoundError(f"there is no live slot {name!r} on this base")
            self._pins[slot.digest] += 1
        self._offer(slot.digest, _identity_of(slot))
        return slot

    def release(self, slot: Slot) -> None:
        """The end of a request that `pin` began."""
        self._unpin(slot.digest)

    def sweep(self) -> None:
        """Remove adapters that a killed process left behind."""
        with self._lock:
            self._shelf.sweep(self._kept())

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise RequestError(
                f"slot name {name!r} is not allowed; use 1 to 64 letters, digits, '.', '_' or '-', "
                "starting with a letter or digit"
            )
        if name in self._offered.names:
            raise RequestError(f"{name!r} is a name of the base model; give the slot another")

    def _check_expected(self, name: str, expected: str | None) -> None:
        with self._lock:
            slot = self._slots.get(name)
        current = None if slot is None else slot.digest
        if current != expected:
            raise SlotConflictError(
                f"slot {name!r} points at {current or 'nothing'}, not at {expected or 'nothing'}; "
                "look at it again"
            )

    def _load(self, digest: str, identity: AdapterIdentity | None) -> None:
        self._offer(digest, identity)
        sampler_id = BASE_SAMPLER if identity is None else _sampler_id(digest)
        self._on_compute_thread(lambda: self._samplers.prepare(sampler_id))

    def _offer(self, digest: str, identity: AdapterIdentity | None) -> None:
        if identity is None:
            self._samplers.serve(BASE_SAMPLER, None, None)
            return
        self._samplers.serve(_sampler_id(digest), lambda: self._shelf.open(identity), digest)

    def _move(
        self, name: str, digest: str, identity: AdapterIdentity | None, admission: Admission
    ) -> Slot:
        with self._lock:
            before = self._slots.get(name)
        now = time.time()
        previous = None if before is None else before.digest
        config_digest = None if identity is None else identity.config_digest
        slot = Slot(name, digest, config_digest, previous, self._base.digest, now)
        change = SlotChange(
            slot=name,
            digest=digest,
            previous_digest=previous,
            base_digest=self._base.digest,
            gate_report_digest=admission.gate_report_digest,
            decided_by=admission.decided_by,
            decided_at=admission.decided_at,
            changed_at=now,
        )
        self._store.point(slot, change)
        with self._lock:
            self._slots[name] = slot
        logger.info("slot %s points at %s (decided by %s)", name, digest, admission.decided_by)
        if before is not None and before.previous_digest is not None:
            self._collect(before.previous_digest)
        return slot

    def _pin(self, digest: str) -> None:
        with self._lock:
            self._pins[digest] += 1

    def _unpin(self, digest: str) -> None:
        with self._lock:
            self._pins[digest] -= 1
            if self._pins[digest] <= 0:
                del self._pins[digest]
        self._collect(digest)

    def _collect(self, digest: str) -> None:
        """Let go of an adapter that no slot and no request uses."""
        with self._lock:
            if self._pins[digest] or digest in self._kept() or digest == self._base.digest:
                return
            self._samplers.withdraw(_sampler_id(digest), self._later)
            self._shelf.remove(digest)

    def _kept(self) -> set[str]:
        slots = self._slots.values()
        return {slot.digest for slot in slots} | {s.previous_digest or "" for s in slots}


def sampler_of(slot: Slot) -> str:
    """The sampler that answers for a slot."""
    return BASE_SAMPLER if slot.is_base else _sampler_id(slot.digest)


def _sampler_id(digest: str) -> str:
    return f"slot:{digest}"


def _identity_of(slot: Slot) -> AdapterIdentity | None:
    if slot.config_digest is None:
        return None
    return AdapterIdentity(slot.digest, slot.config_digest)


def _check_admission(admission: Admission, digest: str, identity: AdapterIdentity | None) -> None:
    """Raise AdmissionError unless the admission is whole and names this very adapter."""
    if type(admission) is not Admission:
        raise AdmissionError("a slot is only pointed with an Admission that a gate made")
    config_digest = None if identity is None else identity.config_digest
    if admission.adapter_digest != digest or admission.config_digest != config_digest:
        raise AdmissionError(
            f"the admission names adapter {admission.adapter_digest} with configuration "
            f"{admission.config_digest}; this one is {digest} with {config_digest}"
        )
    if not _DIGEST.fullmatch(admission.gate_report_digest):
        raise AdmissionError("the admission names no gate report: expected a hex SHA-256")
    if not admission.decided_by.strip():
        raise AdmissionError("the admission doesn't say who decided")
    latest = time.time() + _CLOCK_SKEW_S
    if not math.isfinite(admission.decided_at) or not 0 < admission.decided_at <= latest:
        raise AdmissionError("the admission's time is not a time that has come")
