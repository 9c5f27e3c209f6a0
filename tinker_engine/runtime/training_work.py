"""What each training request does: the same work the first time and after a crash.

A request is given as it is logged (kind, parameters, body). One that was accepted by an earlier
process may have been half done there; `accepted_at` then tells which files are its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinker_engine.errors import CheckpointError, NotFoundError, RequestError
from tinker_engine.protocol.losses import check_loss, check_private, training_data
from tinker_engine.protocol.paths import CheckpointPath, parse_path
from tinker_engine.protocol.training import TrainingCall, read_json_call, read_proto_call
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.futures import Failure, Outcome
from tinker_engine.runtime.jobs import GradientWork
from tinker_engine.runtime.records import (
    AdamParams,
    BaseInfo,
    LossName,
    RunSpec,
    TrainDatum,
    TrainRequest,
)
from tinker_engine.runtime.run_journal import LoggedRequest
from tinker_engine.runtime.usage import DiskQuota, folder_bytes
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.sealing import seal_files
from tinker_engine.storage.store import CheckpointRecord, Store

FORWARD, FORWARD_BACKWARD, OPTIM_STEP = "forward", "forward_backward", "optim_step"
SAVE, SNAPSHOT, LOAD = "save_weights", "save_weights_for_sampler", "load_weights"
UNLOAD, REJECTED = "unload_model", "rejected"
_SAVED = {
    "weights": "save_weights",
    "sampler_weights": "save_weights_for_sampler",
    "external_weights": "save_weights_external",
}

Work = Callable[[], Outcome]


def forward_request(call: TrainingCall) -> LoggedRequest:
    """The logged form of a `forward` or `forward_backward`."""
    kind = FORWARD if call.is_forward_only else FORWARD_BACKWARD
    return LoggedRequest(kind, {"is_proto": call.is_proto}, call.body)


def step_request(params: AdamParams) -> LoggedRequest:
    """The logged form of an `optim_step`."""
    return LoggedRequest(OPTIM_STEP, asdict(params))


def read_data(call: TrainingCall, base: BaseInfo) -> tuple[list[TrainDatum], LossName]:
    """Data and loss of a call; raises RequestError for what doesn't fit."""
    loss = check_loss(call.loss_fn, call.loss_config)
    data = training_data(
        call.read_data(),
        loss,
        call.loss_config,
        vocab_size=base.vocab_size,
        max_context=base.max_context,
    )
    return data, loss


class TrainingWork:
    """Makes the work of requests; what it gives runs on the compute thread."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        folders: CheckpointFolders,
        spec_of: Callable[[str], RunSpec],
        unload: Callable[[str], Outcome],
        disk: DiskQuota,
    ) -> None:
        self._backend = backend
        self._store = store
        self._folders = folders
        self._spec_of = spec_of
        self._unload = unload
        self._disk = disk
        # Makes a sampling session of a run's present weights: (run, session, sampler) -> sampler.
        self.take_snapshot: Callable[[str, str, str], str] | None = None

    def of(
        self,
        run_id: str,
        request: LoggedRequest,
        accepted_at: float | None = None,
        *,
        is_repeated: bool = False,
    ) -> Work:
        """The work of a request; `accepted_at` is given when it may have been begun before.

        `is_repeated` says that it was done to its end before, and is only to be gone through again.
        """
        params = request.params
        match request.kind:
            case "forward" | "forward_backward":
                return lambda: self._forward_again(run_id, request)
            case "optim_step":
                return lambda: self._step(run_id, AdamParams(**params), is_repeated)
            case "save_weights":
                return lambda: self._save(run_id, params, accepted_at)
            case "save_weights_for_sampler":
                return lambda: self._snapshot(run_id, params)
            case "load_weights":
                return lambda: self._load(run_id, params)
            case "unload_model":
                return lambda: self._unload(run_id)
            case "rejected":
                failure = Failure(params["message"], params["category"])
                return lambda: failure
            case kind:
                raise CheckpointError(f"the log of run {run_id} holds a request {kind!r}")

    def forward(
        self, run_id: str, data: list[TrainDatum], loss: LossName, *, is_forward_only: bool
    ) -> Work:
        """The work of a `forward` or `forward_backward` whose data have been read."""
        if is_forward_only:
            return lambda: self._backend.forward(run_id, data, loss)

        def admit() -> None:
            # Here and not above: a client may send data before its run has been created.
            if self._spec_of(run_id).privacy is not None:
                check_private(loss, data)

        return GradientWork(self._backend, TrainRequest(run_id, data, loss), admit)

    def open_checkpoint(self, path: CheckpointPath) -> Path:
        """A checkpoint's folder after its digests were checked; raises CheckpointError."""
        record = self._store.checkpoint(path)
        folder, facts = self._folders.open(path)
        if facts.digest != record.digest:
            raise CheckpointError(
                f"{path} is not what was saved: its digest differs from the recorded one"
            )
        return folder

    def _forward_again(self, run_id: str, request: LoggedRequest) -> Outcome:
        is_forward_only = request.kind == FORWARD
        read = read_proto_call if request.params["is_proto"] else read_json_call
        call = read(request.body, forward_only=is_forward_only)
        data, loss = read_data(call, self._backend.base)
        return self.forward(run_id, data, loss, is_forward_only=is_forward_only)()

    def _step(self, run_id: str, params: AdamParams, is_repeated: bool) -> Outcome:
        result = self._backend.optim_step(run_id, params, is_repeated=is_repeated)
        # Not "step": clients merge these metrics into rows that have a step of their own.
        metrics = {"optimizer_step": float(result.step), **result.metrics}
        return {"type": "optim_step", "metrics": metrics}

    def _save(self, run_id: str, params: Any, accepted_at: float | None) -> Outcome:
        path = parse_path(params["path"])
        answer: Outcome = {"type": _SAVED[path.kind], "path": str(path)}
        overwrite, recipients = bool(params["overwrite"]), params["recipients"]
        known = self._known_checkpoint(path)
        if accepted_at is not None:
            if known is not None and known.created_at >= accepted_at:
                return answer
            # A folder without a row is what the earlier process left of this very request.
            overwrite = overwrite or known is None

        def fill(folder: Path) -> None:
            if path.kind == "weights":
                self._backend.save_state(run_id, folder)
            else:
                self._backend.save_adapter(run_id, folder)
            if recipients:
                seal_files(folder, recipients)
            freed_bytes = 0 if known is None else known.size_bytes
            self._disk.check(folder_bytes(folder), freed_bytes=freed_bytes)

        facts = self._folders.write(path, fill, overwrite=overwrite)
        now = time.time()
        metadata, ttl_s = params["user_metadata"], params["ttl_s"]
        self._store.put_checkpoint(
            CheckpointRecord(
                path=path,
                digest=facts.digest,
                size_bytes=facts.size_bytes,
                created_at=now,
                user_metadata=dict(metadata) if metadata else None,
                expires_at=None if ttl_s is None else now + ttl_s,
            )
        )
        return answer

    def _known_checkpoint(self, path: CheckpointPath) -> CheckpointRecord | None:
        try:
            return self._store.checkpoint(path)
        except NotFoundError:
            return None

    def _snapshot(self, run_id: str, params: Any) -> Outcome:
        if self.take_snapshot is None:
            raise RequestError("this engine has no sampler")
        sampler_id = self.take_snapshot(run_id, params["session_id"], params["sampler_id"])
        return {"type": "save_weights_for_sampler", "sampling_session_id": sampler_id}

    def _load(self, run_id: str, params: Any) -> Outcome:
        folder = self.open_checkpoint(parse_path(params["path"]))
        self._backend.load_into(run_id, folder, with_optimizer=params["with_optimizer"])
        return {"type": "load_weights", "path": params["path"], "model_id": run_id}
