"""Training runs: their requests in order, and what becomes of them when the process dies."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tinker_engine.errors import CheckpointError, NotFoundError, RequestError
from tinker_engine.protocol.metadata import is_private
from tinker_engine.protocol.paths import CheckpointPath, check_run_id
from tinker_engine.protocol.training import TrainingCall
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.callers import Caller, acting_for, current_caller
from tinker_engine.runtime.futures import INTERNAL, Failure, Future, FutureTable, Outcome
from tinker_engine.runtime.jobs import GradientWork, Job, JointWork
from tinker_engine.runtime.queue import ComputeQueue
from tinker_engine.runtime.records import AdamParams, RunSpec
from tinker_engine.runtime.recovery import Recovery
from tinker_engine.runtime.run_journal import LoggedRequest
from tinker_engine.runtime.run_returns import Creation, RunReturns
from tinker_engine.runtime.submissions import LiveRun, NewRun, Submission
from tinker_engine.runtime.training_work import (
    LOAD,
    REJECTED,
    SAVE,
    SNAPSHOT,
    UNLOAD,
    TrainingWork,
    Work,
    forward_request,
    read_data,
    step_request,
)
from tinker_engine.runtime.usage import DiskQuota, Hold, Usage
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.store import RunRecord, Store

_MISSING_TURN_S = 300.0
_BUSY_S = 60.0
_PARKING_S = 0.005
_STORED_S = 5.0
_REQUEST_ID = re.compile(r"(?P<run>.+:train:[0-9]{1,9}):([0-9]+|create|key:[0-9a-f]+)")


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
        recovery: Recovery | None = None,
    ) -> None:
        self._backend = backend
        self._store = store
        self._folders = folders
        self._futures = futures
        self._queue = queue
        self._engine_id = engine_id
        self._usage = usage
        self._recovery = recovery
        self._runs: dict[str, LiveRun] = {}
        self._lock = threading.Lock()
        self._taking_up = threading.RLock()
        self._returns: RunReturns | None = None
        self.work = TrainingWork(backend, store, folders, self.spec, self._unload, disk)
        if recovery is not None:
            futures.revive = self.take_up_for
            creation = Creation(self._create, self._create_in_backend)
            self._returns = RunReturns(
                backend, store, folders, futures, queue, recovery, self.work, creation
            )

    def create(self, new: NewRun) -> str:
        """Start creating a run; gives the request id."""
        if new.parent is not None:
            self._check_parent(new)
        kind = "create_model" if new.parent is None else "load_weights"
        request_id = f"{new.run_id}:create"
        with self._taking_up:
            self._take_up(new.run_id)
            if self._futures.recall(request_id, new.digest):
                return request_id
            with self._usage.hold(kind, 0) as hold:
                self._check_room()
                live = LiveRun(new.run_id, new.session_id, new.base_model)
                self._begin_journal(live, request_id, new)
                future, _ = self._futures.register(
                    request_id,
                    kind=kind,
                    digest=new.digest,
                    run_id=new.run_id,
                    record=self._returns and self._returns.recorder(live, request_id, None),
                    on_done=self._on_done(live, hold),
                )
                hold.keep()
            with self._lock:
                self._runs[new.run_id] = live
            self._queue.submit([Job(future, lambda: self._create(live, new))])
        return request_id

    def live(self, run_id: str) -> LiveRun:
        """A run that is loaded; raises NotFoundError that says how to go on."""
        with self._lock:
            live = self._runs.get(run_id)
        live = live or self._take_up(run_id)
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
        try:
            data, loss = read_data(call, self._backend.base)
        except RequestError as error:
            self.reject(where, error)
            raise
        work = self.work.forward(where.run_id, data, loss, is_forward_only=call.is_forward_only)
        tokens = sum(len(datum.tokens) for datum in data)
        return self._submit(where, forward_request(call), work, tokens)

    def optim_step(self, where: Submission, params: AdamParams) -> str:
        """Queue an optimizer step."""
        return self._submit(where, step_request(params))

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
        params = {
            "path": str(path),
            "overwrite": overwrite,
            "user_metadata": dict(user_metadata) if user_metadata else None,
            "ttl_s": ttl_s,
            "recipients": list(recipients),
        }
        return self._submit(where, LoggedRequest(SAVE, params))

    def snapshot(self, where: Submission, session_id: str, sampler_id: str) -> str:
        """Queue an unnamed sampler snapshot, which becomes a sampling session."""
        params = {"session_id": session_id, "sampler_id": sampler_id}
        return self._submit(where, LoggedRequest(SNAPSHOT, params))

    def load(self, where: Submission, path: CheckpointPath, *, with_optimizer: bool) -> str:
        """Queue loading a checkpoint into an existing run."""
        params = {"path": str(path), "with_optimizer": with_optimizer}
        return self._submit(where, LoggedRequest(LOAD, params))

    def unload(self, where: Submission) -> str:
        """Queue dropping a run from memory; it can't be gone on with then."""
        return self._submit(where, LoggedRequest(UNLOAD))

    def discard(self, run_id: str) -> None:
        """Drop a run for good without anybody waiting for it."""
        with self._lock:
            is_loaded = run_id in self._runs
        if is_loaded:
            key = f"discard:{run_id}:{time.time()}"
            self.unload(Submission(run_id, None, digest="", retry_key=key))
        elif self._recovery is not None:
            self._recovery.forget(run_id)

    def reject(self, where: Submission, error: RequestError) -> None:
        """Let a refused request use up its place, so that later ones don't wait for it."""
        if where.seq_id is not None:
            params = {"message": str(error), "category": error.category}
            self._submit(where, LoggedRequest(REJECTED, params))

    def open_checkpoint(self, path: CheckpointPath) -> Path:
        """A checkpoint's folder after its digests were checked; raises CheckpointError."""
        return self.work.open_checkpoint(path)

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

    def _submit(
        self,
        where: Submission,
        request: LoggedRequest,
        work: Work | None = None,
        tokens: int = 0,
    ) -> str:
        work = work or self.work.of(where.run_id, request)
        while True:
            live = self.live(where.run_id)
            with live.lock:
                if not live.is_parked:
                    self._admit(live, where, request, work, tokens)
                    return where.request_id
            time.sleep(_PARKING_S)

    def _admit(
        self, live: LiveRun, where: Submission, request: LoggedRequest, work: Work, tokens: int
    ) -> None:
        request_id = where.request_id
        live.last_request_at = time.time()
        if where.seq_id is not None and live.gate.is_past(where.seq_id):
            if not self._futures.recall(request_id, where.digest):
                raise RequestError(f"place {where.seq_id} of run {where.run_id} was taken before")
            return
        is_known = self._futures.get(request_id) is not None
        is_awaited = live.gate.is_awaited(where.seq_id)
        with self._usage.hold(
            request.kind, 0 if is_known else tokens, is_awaited=is_awaited
        ) as hold:
            # After the quota was looked at: what is refused must not come back in a replay.
            if live.journal is not None and not is_known:
                live.journal.accept(request_id, where.seq_id, where.digest, request)
            future, is_new = self._futures.register(
                request_id,
                kind=request.kind,
                digest=where.digest,
                run_id=where.run_id,
                record=self._returns and self._returns.recorder(live, request_id, where.seq_id),
                on_done=self._on_done(live, hold),
            )
            if is_new:
                hold.keep()
        if is_new:
            job = Job(future, lambda: live.unless_failed(work), _joint(live, work))
            self._queue.submit(live.gate.admit(where.seq_id, job))

    def _begin_journal(self, live: LiveRun, request_id: str, new: NewRun) -> None:
        if self._recovery is None:
            return
        live.journal = self._recovery.begin(new.run_id)
        try:
            live.journal.accept(request_id, None, new.digest, new.to_request())
        except BaseException:
            self._recovery.forget(new.run_id)
            raise

    def _on_done(self, live: LiveRun, hold: Hold) -> Callable[[Future], None]:
        """Gives back what a request held, and lets the run's state be saved if it is time."""
        after = self._returns and self._returns.after(live)

        def on_done(future: Future) -> None:
            hold.settle(future)
            if after is not None:
                after(future)

        return on_done

    def _check_parent(self, new: NewRun) -> None:
        parent = new.parent
        assert parent is not None
        if parent.is_upload and new.spec is not None:
            self._store.checkpoint(parent)
            return
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

    def take_up_for(self, request_id: str) -> None:
        """Go on with the run of a request, if an earlier process left it."""
        found = _REQUEST_ID.fullmatch(request_id)
        if found is not None:
            self._take_up(found["run"])

    def park(self, run_id: str) -> None:
        """Let an idle run leave memory; the next request brings it back as it was."""
        with self._lock:
            live = self._runs.get(run_id)
        if live is None or live.journal is None or self._recovery is None:
            self.discard(run_id)
            return
        internal = Future(uuid.uuid4().hex, INTERNAL, "", run_id)
        self._queue.submit([Job(internal, lambda: self._park(live))])

    def save_states(self) -> None:
        """Save what every run has come to; after the compute thread has ended."""
        if self._recovery is not None:
            for run_id, live in list(self._runs.items()):
                if live.spec is not None and live.failure is None:
                    self._recovery.save(run_id)

    def _park(self, live: LiveRun) -> Outcome:
        assert self._recovery is not None
        with live.lock:
            if live.gate.is_waiting or time.time() - live.last_request_at < _BUSY_S:
                return {}
            live.is_parked = True
        if live.spec is not None and live.failure is None:
            self._recovery.save(live.run_id)
        self._recovery.release(live.run_id)
        self._backend.drop_run(live.run_id)
        with self._lock:
            self._runs.pop(live.run_id, None)
        return {}

    def _take_up(self, run_id: str) -> LiveRun | None:
        """A run that an earlier process left, with its unfinished requests back in line.

        Only its owner can bring it back, and all of it is worked off on the owner's behalf.
        """
        if self._returns is None:
            return None
        owner = self._store.owner(check_run_id(run_id).partition(":")[0])
        caller = current_caller()
        if owner is None or (caller is not None and caller.owner != owner):
            return None
        with self._taking_up, acting_for(caller or Caller(owner)):
            with self._lock:
                live = self._runs.get(run_id)
            live = live or self._returns.take_up(run_id)
            if live is not None:
                with self._lock:
                    self._runs[run_id] = live
            return live

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
            spec = self._backend.create_run(new.run_id, new.spec, ledger)
        elif new.spec is not None:
            start = self.open_checkpoint(new.parent)
            spec = self._backend.create_run(new.run_id, new.spec, ledger, start)
        else:
            folder = self.open_checkpoint(new.parent)
            spec = self._backend.restore_run(
                new.run_id, folder, ledger, with_optimizer=new.with_optimizer
            )
        if self._store.has_run(new.run_id):
            # An earlier process got as far as this; a run that is over must not come back.
            if self._store.run(new.run_id).unloaded_at is not None:
                raise RequestError(f"run {new.run_id!r} exists already and is over; make a new one")
            return spec
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
        if self._recovery is not None:
            # With the log goes what it knows of this very request; the database has to know it.
            self._futures.flush(_STORED_S)
            self._recovery.forget(run_id)
        return {"type": "unload_model", "model_id": run_id}


def _joint(live: LiveRun, work: Callable[[], Outcome]) -> JointWork | None:
    """How this work can be computed with that of other runs, if it can."""
    if not isinstance(work, GradientWork):
        return None
    return JointWork(work.wanted.rows, lambda: live.unless_failed(work.request))
