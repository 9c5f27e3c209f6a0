"""Live slots: names under `/v1` that point at an adapter, at a set of them, or at the bare base.

A slot moves in one step and only with an `Admission`: the record of the gate that examined this
very adapter. There is no other way in, and none over HTTP; the program that embeds the engine calls
`Engine.slots.set` after its gate. A request is pinned to the digest it began with: its adapter
stays on disk and answers until the request ends, wherever the slot points meanwhile.

    admission = Admission(report_digest, adapter_digest, config_digest, "gate", time.time())
    engine.slots.set("support", folder, expected=None, admission=admission)

Behind a set, the router that the embedding program gave (`use_router`) picks the member for each
request from the set's document and the request's text; the answer carries the member's digest.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinker_engine.errors import (
    AdmissionError,
    CheckpointError,
    EngineError,
    NotFoundError,
    RequestError,
    SlotConflictError,
)
from tinker_engine.runtime.adapter_shelf import (
    AdapterIdentity,
    AdapterSet,
    AdapterShelf,
    identify,
    read_set,
)
from tinker_engine.runtime.names import OfferedBase
from tinker_engine.runtime.records import BaseInfo
from tinker_engine.runtime.sampling_sessions import Samplers
from tinker_engine.storage.slots import Slot, SlotChange, SlotStore

logger = logging.getLogger(__name__)

BASE_SAMPLER = "served:base"
BASE_MEMBER = "base"
Router = Callable[[bytes, str], str]
"""From a set's document and a request's text to a member's digest, or "base"."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CLOCK_SKEW_S = 300.0


@dataclass(frozen=True)
class Admission:
    """That a gate let this adapter in: digests are hex SHA-256, `decided_at` seconds since 1970.

    `adapter_digest` is that of adapter_model.safetensors and `config_digest` that of
    adapter_config.json; to point a slot at the bare base they are the base's digest and None, and
    for a set of adapters both are the digest of its document.
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
        # None for what is known to be a single adapter.
        self._sets: dict[str, AdapterSet | None] = {}
        self._router: Router | None = None
        self._pause_s = 0.0
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
        members = [] if identity is None or adapter_folder is None else [(adapter_folder, identity)]
        return self._set(name, digest, identity, members, None, expected, admission)

    def set_group(
        self,
        name: str,
        document: bytes,
        adapter_folders: Sequence[Path],
        *,
        expected: str | None,
        admission: Admission,
    ) -> Slot:
        """Point a slot at a set of adapters; as `set`, for all of them or for none.

        `document` names exactly the adapters in the folders (`adapter_shelf.read_set`).

        Raises as `set`, and CheckpointError when document and folders disagree, RequestError when
        no router was given.
        """
        self._check_name(name)
        if self._router is None:
            raise RequestError("this engine has no router, so it serves no sets of adapters")
        group = read_set(document)
        members = [(folder, identify(folder)) for folder in adapter_folders]
        if [identity for _, identity in members] != list(group.members):
            raise CheckpointError("the set's document names other adapters than the folders hold")
        return self._set(name, group.digest, group.identity, members, group, expected, admission)

    def use_router(self, router: Router) -> None:
        """Give the router for sets; it is called from worker threads for every request."""
        self._router = router

    @property
    def last_pause_s(self) -> float:
        """For how long the last change kept the compute thread from everything else."""
        return self._pause_s

    def verify(self, slot: Slot) -> None:
        """Check that everything a slot can answer with has its digests; raises CheckpointError."""
        if slot.is_set:
            for member in self._shelf.open_set(slot.digest).members:
                self._shelf.open(member)
        elif (identity := _identity_of(slot)) is not None:
            self._shelf.open(identity)

    def _set(
        self,
        name: str,
        digest: str,
        identity: AdapterIdentity | None,
        members: Sequence[tuple[Path, AdapterIdentity]],
        group: AdapterSet | None,
        expected: str | None,
        admission: Admission,
    ) -> Slot:
        _check_admission(admission, digest, identity)
        pinned = {digest, *(member.digest for _, member in members)}
        with self._changing:
            self._check_expected(name, expected)
            for one in pinned:
                self._pin(one)
            try:
                for folder, member in members:
                    self._shelf.put(folder, member)
                if group is not None:
                    self._shelf.put_set(group)
                    with self._lock:
                        self._sets[digest] = group
                self._load([member for _, member in members])
                return self._move(name, digest, identity, admission)
            finally:
                for one in pinned:
                    self._unpin(one)

    def pin(self, name: str, asked: str = "") -> Slot:
        """Where a slot points now; its adapter stays until `release` is called with the answer.

        Behind a set, the member that the router picks for the text `asked` stands in the answer as
        if the slot pointed at it.

        Raises NotFoundError, also for a slot that was made for another base.
        """
        with self._lock:
            slot = self._slots.get(name)
            if slot is None or not self.is_served(slot):
                raise NotFoundError(f"there is no live slot {name!r} on this base")
            self._pins[slot.digest] += 1
        if slot.is_set:
            slot = self._routed(slot, asked)
        self._offer(slot.digest, _identity_of(slot))
        return slot

    def _routed(self, slot: Slot, asked: str) -> Slot:
        """The slot as if it pointed at the member for a text; the pin moves to that member."""
        try:
            group, router = self._group(slot.digest), self._router
            if router is None:
                raise EngineError(f"slot {slot.name!r} is a set, and this engine has no router")
            chosen = router(group.document, asked)
            found = {member.digest: member for member in group.members}
            if chosen == BASE_MEMBER:
                routed = replace(slot, digest=self._base.digest, config_digest=None)
            elif chosen in found:
                config_digest = found[chosen].config_digest
                routed = replace(slot, digest=chosen, config_digest=config_digest)
            else:
                raise EngineError(f"the router chose {chosen!r}, which is not in the set")
            self._pin(routed.digest)
            return routed
        finally:
            self._unpin(slot.digest)

    def _group(self, digest: str) -> AdapterSet:
        with self._lock:
            known = self._sets.get(digest)
        if known is None:
            known = self._shelf.open_set(digest)
            with self._lock:
                self._sets[digest] = known
        return known

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

    def _load(self, members: Sequence[AdapterIdentity]) -> None:
        """Load what is going to answer: all adapters, or the bare base."""
        longest = 0.0
        for identity in members or [None]:
            digest = self._base.digest if identity is None else identity.digest
            self._offer(digest, identity)
            sampler_id = BASE_SAMPLER if identity is None else _sampler_id(digest)
            longest = max(longest, self._on_compute_thread(lambda s=sampler_id: self._prepare(s)))
        self._pause_s = longest

    def _prepare(self, sampler_id: str) -> float:
        started_at = time.perf_counter()
        self._samplers.prepare(sampler_id)
        return time.perf_counter() - started_at

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
        """Let go of an adapter, or of a set with its members, that no slot and no request uses."""
        with self._lock:
            if self._pins[digest] or digest in self._kept() or digest == self._base.digest:
                return
            self._members(digest)
            group = self._sets.pop(digest, None)
            self._samplers.withdraw(_sampler_id(digest), self._later)
            self._shelf.remove(digest)
        for member in () if group is None else group.members:
            self._collect(member.digest)

    def _kept(self) -> set[str]:
        """Every digest that a slot points at or did before, with the members of sets."""
        kept: set[str] = set()
        for slot in self._slots.values():
            kept |= {slot.digest, slot.previous_digest or ""}
        for digest in list(kept):
            kept |= {member.digest for member in self._members(digest)}
        return kept

    def _members(self, digest: str) -> tuple[AdapterIdentity, ...]:
        if digest not in self._sets and digest:
            try:
                is_set = self._shelf.is_set(digest)
                self._sets[digest] = self._shelf.open_set(digest) if is_set else None
            except CheckpointError as error:
                logger.error("a slot's set is damaged: %s", error)
        known = self._sets.get(digest)
        return () if known is None else known.members


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
