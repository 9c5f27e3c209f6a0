"""What a model name under `/v1` stands for: the base, a checkpoint, or a live slot.

Whatever a name points at, a request is answered by weights of one digest, fixed when it begins.
Nothing is substituted: a name that is unknown, or that two things bear, is an error.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tinker_engine.errors import NotFoundError, RequestError, UnknownModelError
from tinker_engine.models.adapter_files import WEIGHTS_FILE
from tinker_engine.protocol.paths import CheckpointPath, parse_path
from tinker_engine.runtime.names import OfferedBase
from tinker_engine.runtime.records import BaseInfo
from tinker_engine.runtime.sampling_sessions import Samplers
from tinker_engine.runtime.slots import BASE_SAMPLER, Slots, sampler_of
from tinker_engine.storage.checkpoints import DIGESTS_FILE
from tinker_engine.storage.store import Store

_MOST_CHECKPOINTS = 1000
_KNOWN_KEPT = 4096


@dataclass(frozen=True)
class ModelCard:
    """One model that can be named; digests are hex SHA-256, None where it is not known yet."""

    name: str
    kind: Literal["base", "checkpoint", "slot"]
    digest: str | None
    created_at: float


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class ServedModel:
    """A model as one request sees it; `release` must be called when the request has ended."""

    name: str
    digest: str
    sampler_id: str
    release: Callable[[], None] = field(default=_nothing, repr=False, compare=False)


class ServedModels:
    """Resolves names; `use` may read files, so it is called from a worker thread."""

    def __init__(
        self,
        offered: OfferedBase,
        base: BaseInfo,
        samplers: Samplers,
        slots: Slots,
        store: Store,
        open_checkpoint: Callable[[CheckpointPath], Path],
    ) -> None:
        self._offered = offered
        self._base = base
        self._samplers = samplers
        self._slots = slots
        self._store = store
        self._open_checkpoint = open_checkpoint
        self._started_at = time.time()
        self._known: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, name: str, asked: str = "") -> ServedModel:
        """The model that answers a request which begins now; behind a set, by the text `asked`.

        Raises UnknownModelError for a name that nothing here bears, CheckpointError for a damaged
        checkpoint or one without an adapter.
        """
        if name.startswith("tinker://"):
            return self._checkpoint(name)
        is_base = name in self._offered.names
        try:
            slot = self._slots.pin(name, asked)
        except NotFoundError as error:
            if not is_base:
                raise UnknownModelError(self._unknown(name)) from error
            self._samplers.serve(BASE_SAMPLER, None, None)
            return ServedModel(name, self._base.digest, BASE_SAMPLER)
        if is_base:
            self._slots.release(slot)
            raise RequestError(f"{name!r} is both the base model and a live slot; rename the alias")
        return ServedModel(
            name, slot.digest, sampler_of(slot), release=lambda: self._slots.release(slot)
        )

    def cards(self) -> list[ModelCard]:
        """Everything that can be named: base and aliases, slots, then the newest checkpoints."""
        cards = [
            ModelCard(name, "base", self._base.digest, self._started_at)
            for name in self._offered.names
        ]
        cards += [
            ModelCard(slot.name, "slot", slot.digest, slot.changed_at)
            for slot in self._slots.list()
            if self._slots.is_served(slot)
        ]
        for record in self._store.list_checkpoints(limit=_MOST_CHECKPOINTS).items:
            if record.path.kind == "sampler_weights":
                cards.append(ModelCard(str(record.path), "checkpoint", None, record.created_at))
        return cards

    def card(self, name: str) -> ModelCard:
        """One model, with its digest; raises as `use` does."""
        model = self.use(name)
        model.release()
        if name.startswith("tinker://"):
            created_at = self._store.checkpoint(parse_path(name)).created_at
            return ModelCard(name, "checkpoint", model.digest, created_at)
        if name in self._offered.names:
            return ModelCard(name, "base", model.digest, self._started_at)
        slot = self._slots.get(name)
        return ModelCard(name, "slot", slot.digest, slot.changed_at)

    def _checkpoint(self, name: str) -> ServedModel:
        try:
            path = parse_path(name)
            record = self._store.checkpoint(path)
        except NotFoundError as error:
            raise UnknownModelError(str(error)) from error
        # Records name the digest over all files; what answers is named by that of the weights.
        digest = self._known.get(record.digest) or self._learn(path, record.digest)
        sampler_id = f"checkpoint:{path}:{record.digest}"
        self._samplers.serve(sampler_id, lambda: self._open_checkpoint(path), digest)
        return ServedModel(name, digest, sampler_id)

    def _learn(self, path: CheckpointPath, folder_digest: str) -> str:
        folder = self._open_checkpoint(path)
        files: dict[str, Any] = json.loads((folder / DIGESTS_FILE).read_text("utf-8"))["files"]
        if WEIGHTS_FILE not in files:
            raise UnknownModelError(f"{path} holds no adapter that could answer")
        digest = str(files[WEIGHTS_FILE]["sha256"])
        with self._lock:
            self._known[folder_digest] = digest
            if len(self._known) > _KNOWN_KEPT:
                self._known.popitem(last=False)
        return digest

    def _unknown(self, name: str) -> str:
        slots = [slot.name for slot in self._slots.list() if self._slots.is_served(slot)]
        known = ", ".join([*self._offered.names, *slots])
        return (
            f"model {name!r} is not served here; expected {known} or a checkpoint "
            "(tinker://RUN/sampler_weights/NAME); /v1/models lists all"
        )
