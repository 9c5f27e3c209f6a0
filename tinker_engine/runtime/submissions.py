"""What is known of a run and of a request to it before any work is done."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinker_engine.protocol.paths import CheckpointPath
from tinker_engine.runtime.futures import Failure
from tinker_engine.runtime.jobs import Job
from tinker_engine.runtime.ordering import OrderGate
from tinker_engine.runtime.records import RunSpec


@dataclass
class LiveRun:
    """A run in the backend. `spec` is None until it was created there."""

    run_id: str
    session_id: str
    base_model: str
    spec: RunSpec | None = None
    failure: Failure | None = None
    last_request_at: float = field(default_factory=time.time)
    gate: OrderGate[Job] = field(default_factory=lambda: OrderGate[Job]())
    lock: threading.Lock = field(default_factory=threading.Lock)


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
    """A run to create: fresh from `spec`, or from `parent` (then the spec is the checkpoint's)."""

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
