"""What is known of a run and of a request to it before any work is done."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from tinker_engine.protocol.paths import CheckpointPath, parse_path
from tinker_engine.runtime.futures import Failure
from tinker_engine.runtime.jobs import Job
from tinker_engine.runtime.ordering import OrderGate
from tinker_engine.runtime.records import RunSpec
from tinker_engine.runtime.run_journal import CREATE, LoggedRequest, RunJournal
from tinker_engine.storage.store import spec_from_json

T = TypeVar("T")


@dataclass
class LiveRun:
    """A run in the backend. `spec` is None until it was created there.

    `journal` is None where runs are not kept over a crash. A run that is parked has left memory:
    who holds it looks it up again.
    """

    run_id: str
    session_id: str
    base_model: str
    spec: RunSpec | None = None
    failure: Failure | None = None
    journal: RunJournal | None = None
    is_parked: bool = False
    last_request_at: float = field(default_factory=time.time)
    gate: OrderGate[Job] = field(default_factory=lambda: OrderGate[Job]())
    lock: threading.Lock = field(default_factory=threading.Lock)

    def unless_failed(self, work: Callable[[], T]) -> T | Failure:
        """Do the work, unless the run itself could not be made or restored."""
        return self.failure if self.failure is not None else work()


@dataclass(frozen=True)
class Submission:
    """Where a request belongs: its run, its place, its payload digest, and its retry key."""

    run_id: str
    seq_id: int | None
    digest: str
    retry_key: str

    @property
    def request_id(self) -> str:
        """The id that a retry of the same request arrives at again."""
        if self.seq_id is not None:
            return f"{self.run_id}:{self.seq_id}"
        return f"{self.run_id}:key:{hashlib.sha256(self.retry_key.encode()).hexdigest()[:24]}"


@dataclass(frozen=True)
class NewRun:
    """A run to create: fresh from `spec`, or from `parent`, whose spec it takes.

    With both, `parent` is an uploaded adapter, which brings values and nothing else.
    """

    session_id: str
    model_seq_id: int
    base_model: str
    digest: str
    user_metadata: Mapping[str, Any] | None = None
    spec: RunSpec | None = None
    parent: CheckpointPath | None = None
    with_optimizer: bool = False

    @property
    def run_id(self) -> str:
        """The id that the SDK computes as well."""
        return f"{self.session_id}:train:{self.model_seq_id}"

    def to_request(self) -> LoggedRequest:
        """The form in which a run's log holds it."""
        params = {
            "session_id": self.session_id,
            "model_seq_id": self.model_seq_id,
            "base_model": self.base_model,
            "digest": self.digest,
            "user_metadata": None if self.user_metadata is None else dict(self.user_metadata),
            "spec": None if self.spec is None else asdict(self.spec),
            "parent": None if self.parent is None else str(self.parent),
            "with_optimizer": self.with_optimizer,
        }
        return LoggedRequest(CREATE, params)

    @staticmethod
    def of_request(request: LoggedRequest) -> NewRun:
        """The inverse of `to_request`."""
        params = dict(request.params)
        spec, parent = params.pop("spec"), params.pop("parent")
        return NewRun(
            **params,
            spec=None if spec is None else spec_from_json(spec),
            parent=None if parent is None else parse_path(parent),
        )
