"""Training runs: their requests in order, and what each does with backend and checkpoints."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tinker_engine.errors import CheckpointError, NotFoundError, RequestError
from tinker_engine.protocol.losses import check_loss, check_private, training_data
from tinker_engine.protocol.metadata import is_private
from tinker_engine.protocol.paths import CheckpointPath
from tinker_engine.protocol.training import TrainingCall
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.callers import current_caller
from tinker_engine.runtime.futures import Failure, FutureTable, Outcome
from tinker_engine.runtime.jobs import GradientWork, Job, JointWork
from tinker_engine.runtime.queue import ComputeQueue
from tinker_engine.runtime.records import AdamParams, RunSpec, TrainRequest
from tinker_engine.runtime.submissions import LiveRun, NewRun, Submission
from tinker_engine.runtime.usage import DiskQuota, Usage, folder_bytes
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.sealing import seal_files
from tinker_engine.storage.store import CheckpointRecord, RunRecord, Store

T = TypeVar("T")

_MISSING_TURN_S = 300.0
_SAVED = {
    "weights": "save_weights",
    "sampler_weights": "save_weights_for_sampler",
    "external_weights": "save_weights_external",
}


class TrainingRuns:
    """All runs of this process."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        folders: CheckpointFolders,
        futures: FutureTable,
        queue: ComputeQueue,
        engine_id: str,
        usage: Usage,
        disk: DiskQuota,
    ) -> None:
        self._backend = backend
        self._store = store
        self._folders = folders
        self._futures = futures
        self._queue = queue
        self._engine_id = engine_id
        self._usage = usage
        self._disk = disk
        self._admission = threading.Lock()
        self._runs: dict[str, LiveRun] = {}
        self._lock = threading.Lock()

    def create(self, new: NewRun) -> str:
        """Start creating a run; gives the request id."""
        if new.parent is not None:
            self._check_parent(new)
        kind = "create_model" if new.parent is None else "load_weights"
        request_id = f"{new.run_id}:create"
        if self._futures.recall(request_id, new.digest):
            return request_id
        with self._admission, self._usage.hold(kind, 0) as hold:
            self._check_room()
            future, is_new = self._futures.register(
                request_id, kind=kind, digest=new.digest, run_id=new.run_id, on_done=hold.settle
            )
            if is_new:
                hold.keep()
                live = LiveRun(new.run_id, new.session_id, new.base_model)
                with self._lock:
                    self._runs[new.run_id] = live
                self._queue.submit([Job(future, lambda: self._create(live, new))])
        return request_id

    def live(self, run_id: str) -> LiveRun:
        """A run that is loaded; raises NotFoundError that says how to go on."""
        with self._lock:
            live = self._runs.get(run_id)
        if live is None or not self._store.is_mine(live.session_id):
            self._store.run(run_id)
            saved = self._store.list_checkpoints(run_id, limit=1).items
            advice = (
                f"continue from {saved[0].path} with "
                "create_training_client_from_state_with_optimizer"
                if saved
                else "it has no checkpoints; create a new one"
            )
            raise NotFoundError(
                f"run {run_id!r} is not loaded (unloaded, or from before a restart); {advice}"
            )
        return live

    def spec(self, run_id: str) -> RunSpec:
        """The spec of a run, loaded or not; raises NotFoundError."""
        with self._lock:
            live = self._runs.get(run_id)
        if live is not None and live.spec is not None and self._store.is_mine(live.session_id):
            return live.spec
        return self._store.run(run_id).spec

    def forward(self, where: Submission, call: TrainingCall) -> str:
        """Queue a `forward` or `forward_backward`.

        Raises RequestError for data that don't fit; the request's place counts as taken then.
        """
        base, run_id = self._backend.base, where.run_id
        try:
            loss = check_loss(call.loss_fn, call.loss_config)
            data = training_data(
                call.read_data(),
                loss,
                call.loss_config,
                vocab_size=base.vocab_size,
                max_context=base.max_context,
            )
        except RequestError as error:
            self.reject(where, "forward_backward", error)
            raise
        tokens = sum(len(datum.tokens) for datum in data)
        if call.is_forward_only:
            return self._submit(
                where, "forward", lambda: self._backend.forward(run_id, data, loss), tokens
            )

        def admit() -> None:
            # Here and not above: a client may send data before its run has been created.
            if self.spec(run_id).privacy is not None:
                check_private(loss, data)

        work = GradientWork(self._backend, TrainRequest(run_id, data, loss), admit)
        return self._submit(where, "forward_backward", work, tokens)

    def optim_step(self, where: Submission, params: AdamParams) -> str:
        """Queue an optimizer step."""

        def work() -> Outcome:
            result = self._backend.optim_step(where.run_id, params)
            # Not "step": clients merge these metrics into rows that have a step of their own.
            metrics = {"optimizer_step": float(result.step), **result.metrics}
            return {"type": "optim_step", "metrics": metrics}

        return self._submit(where, "optim_step", work)

    def save(
        self,
        where: Submission,
        path: CheckpointPath,
        *,
        overwrite: bool,
        user_metadata: Mapping[str, str] | None,
        ttl_s: int | None,
        recipients: Sequence[str] = (),
    ) -> str:
        """Queue saving a training state or adapter weights under a name.

        With recipients, the files can be read by the holders of those keys alone.
        """

        def fill(folder: Path) -> None:
            if path.kind == "weights":
                self._backend.save_state(where.run_id, folder)
            else:
                self._backend.save_adapter(where.run_id, folder)
            if recipients:
                seal_files(folder, recipients)
            self._disk.check(folder_bytes(folder), freed_bytes=self._saved_bytes(path))

        def work() -> Outcome:
            facts = self._folders.write(path, fill, overwrite=overwrite)
            now = time.time()
            self._store.put_checkpoint(
                CheckpointRecord(
                    path=path,
                    digest=facts.digest,
                    size_bytes=facts.size_bytes,
                    created_at=now,
                    user_metadata=dict(user_metadata) if user_metadata else None,
                    expires_at=None if ttl_s is None else now + ttl_s,
                )
            )
            return {"type": _SAVED[path.kind], "path": str(path)}

        return self._submit(where, "save_weights", work)

    def snapshot(self, where: Submission, fill: Callable[[], str]) -> str:
        """Queue an unnamed sampler snapshot; `fill` makes it and gives the sampling session id."""

        def work() -> Outcome:
            return {"type": "save_weights_for_sampler", "sampling_session_id": fill()}

        return self._submit(where, "save_weights_for_sampler", work)

    def load(self, where: Submission, path: CheckpointPath, *, with_optimizer: bool) -> str:
        """Queue loading a checkpoint into an existing run."""

        def work() -> Outcome:
            folder = self.open_checkpoint(path)
            self._backend.load_into(where.run_id, folder, with_optimizer=with_optimizer)
            return {"type": "load_weights", "path": str(path), "model_id": where.run_id}

        return self._submit(where, "load_weights", work)

    def unload(self, where: Submission) -> str:
        """Queue dropping a run from memory."""
        return self._submit(where, "unload_model", lambda: self._unload(where.run_id))

    def discard(self, run_id: str) -> None:
        """Drop a run from memory without anybody waiting for it."""
        key = f"discard:{run_id}:{time.time()}"
        self.unload(Submission(run_id, None, digest="", retry_key=key))

    def reject(self, where: Submission, kind: str, error: RequestError) -> None:
        """Let a refused request use up its place, so that later ones don't wait for it."""
        if where.seq_id is not None:
            failure = Failure.of(error)
            self._submit(where, kind, lambda: failure)

    def open_checkpoint(self, path: CheckpointPath) -> Path:
        """A checkpoint's folder after its digests were checked; raises CheckpointError."""
        record = self._store.checkpoint(path)
        folder, facts = self._folders.open(path)
        if facts.digest != record.digest:
            raise CheckpointError(
                f"{path} is not what was saved: its digest differs from the recorded one"
            )
        return folder

    def runs_of(self, session_id: str) -> list[str]:
        """Loaded runs of a session."""
        with self._lock:
            return [run.run_id for run in self._runs.values() if run.session_id == session_id]

    def count(self, owner: str | None = None) -> int:
        """How many runs are loaded, of one owner or of all."""
        with self._lock:
            sessions = [run.session_id for run in self._runs.values()]
        if owner is None:
            return len(sessions)
        return sum(self._store.owner(session_id) == owner for session_id in sessions)

    def collect(self) -> None:
        """Give up on places that never came, and note when runs were last used."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            self._give_up_gaps(run, _MISSING_TURN_S)
        self._store.touch_runs({run.run_id: run.last_request_at for run in runs if run.spec})

    def _give_up_gaps(self, run: LiveRun, after_s: float) -> None:
        """Fail what has been held back for that long for want of a request before it."""
        with run.lock:
            missing, held = run.gate.expire(after_s)
        failure = Failure(f"request {missing} of run {run.run_id} never arrived", "user")
        for job in held:
            self._futures.finish(job.future, failure)

    def _check_room(self) -> None:
        caller = current_caller()
        limit = caller.limits.max_runs if caller else None
        if caller is None or limit is None:
            return
        loaded = self.count(caller.owner)
        if loaded >= limit:
            raise self._usage.refuse(
                "runs", loaded + 1, limit, "unload one (its checkpoints stay) or end its session"
            )

    def _saved_bytes(self, path: CheckpointPath) -> int:
        """Size of a checkpoint that is about to be replaced, 0 if there is none."""
        try:
            return self._store.checkpoint(path).size_bytes
        except NotFoundError:
            return 0

    def _submit(
        self, where: Submission, kind: str, work: Callable[[], Outcome], tokens: int = 0
    ) -> str:
        live = self.live(where.run_id)
        request_id = where.request_id
        with live.lock:
            live.last_request_at = time.time()
            if where.seq_id is not None and live.gate.is_past(where.seq_id):
                if self._futures.recall(request_id, where.digest):
                    return request_id
                raise RequestError(f"place {where.seq_id} of run {where.run_id} was taken before")
            is_known = self._futures.get(request_id) is not None
            is_awaited = live.gate.is_awaited(where.seq_id)
            with self._usage.hold(kind, 0 if is_known else tokens, is_awaited=is_awaited) as hold:
                future, is_new = self._futures.register(
                    request_id,
                    kind=kind,
                    digest=where.digest,
                    run_id=where.run_id,
                    on_done=hold.settle,
                )
                if is_new:
                    hold.keep()
            if is_new:
                job = Job(future, lambda: _unless_failed(live, work), _joint(live, work))
                self._queue.submit(live.gate.admit(where.seq_id, job))
        return request_id

    def _check_parent(self, new: NewRun) -> None:
        parent = new.parent
        assert parent is not None
        if parent.kind != "weights":
            raise CheckpointError(
                f"{parent} holds sampler weights alone; training continues from a "
                "tinker://RUN_ID/weights/NAME checkpoint (save_state)"
            )
        if is_private(new.user_metadata):
            raise RequestError(
                "dp_ keys can't be given when loading: the checkpoint brings its own privacy policy"
            )
        self._store.checkpoint(parent)

    def _create(self, live: LiveRun, new: NewRun) -> Outcome:
        try:
            live.spec = self._create_in_backend(new)
        except BaseException as error:
            live.failure = Failure(f"run {live.run_id} could not be created: {error}", "user")
            with self._lock:
                self._runs.pop(live.run_id, None)
            raise
        if new.parent is None:
            return {"type": "create_model", "model_id": live.run_id}
        return {"type": "load_weights", "path": str(new.parent), "model_id": live.run_id}

    def _create_in_backend(self, new: NewRun) -> RunSpec:
        ledger = self._folders.ledger_dir(new.run_id)
        if new.parent is None:
            assert new.spec is not None
            spec = new.spec
            self._backend.create_run(new.run_id, spec, ledger)
        else:
            folder = self.open_checkpoint(new.parent)
            spec = self._backend.restore_run(
                new.run_id, folder, ledger, with_optimizer=new.with_optimizer
            )
        now = time.time()
        self._store.add_run(
            RunRecord(
                id=new.run_id,
                session_id=new.session_id,
                model_seq_id=new.model_seq_id,
                base_model=self._backend.base.name,
                base_digest=self._backend.base.digest,
                spec=spec,
                user_metadata=dict(new.user_metadata) if new.user_metadata else None,
                parent_path=None if new.parent is None else str(new.parent),
                engine_id=self._engine_id,
                created_at=now,
                last_request_at=now,
            )
        )
        return spec

    def _unload(self, run_id: str) -> Outcome:
        self._backend.drop_run(run_id)
        with self._lock:
            live = self._runs.pop(run_id, None)
        if live is not None:
            self._give_up_gaps(live, 0.0)
        self._store.touch_runs({}, unloaded=[run_id])
        return {"type": "unload_model", "model_id": run_id}


def _unless_failed(live: LiveRun, work: Callable[[], T]) -> T | Failure:
    return live.failure if live.failure is not None else work()


def _joint(live: LiveRun, work: Callable[[], Outcome]) -> JointWork | None:
    """How this work can be computed with that of other runs, if it can."""
    if not isinstance(work, GradientWork):
        return None
    return JointWork(work.wanted.rows, lambda: _unless_failed(live, work.request))
