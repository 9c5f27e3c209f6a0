"""One engine: a backend, its database and checkpoint folders, and everything that is asked of it.

This is the whole server but for HTTP. Sessions, training runs and sampling sessions each have
their own module; here they are put together, started, cleaned up after and stopped.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from tinker_engine.config import EngineConfig
from tinker_engine.errors import NotFoundError, RequestError, ServerUnavailableError
from tinker_engine.protocol.paths import CheckpointPath
from tinker_engine.runtime.adapter_shelf import AdapterShelf
from tinker_engine.runtime.adapter_uploads import store_adapter
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.base_text import BaseText
from tinker_engine.runtime.callers import scoped
from tinker_engine.runtime.copies import copy_checkpoint
from tinker_engine.runtime.futures import INTERNAL, Failure, Future, FutureTable, Outcome
from tinker_engine.runtime.jobs import Job
from tinker_engine.runtime.names import OfferedBase, read_aliases, resolve
from tinker_engine.runtime.queue import ComputeQueue
from tinker_engine.runtime.records import BaseInfo, BaseShape, PrivacyRecord
from tinker_engine.runtime.recovery import Recovery
from tinker_engine.runtime.sample_log import SampleLog
from tinker_engine.runtime.sampling_sessions import Samplers
from tinker_engine.runtime.served_models import ServedModels
from tinker_engine.runtime.slots import Slots
from tinker_engine.runtime.status import engine_status
from tinker_engine.runtime.training_line import TrainingLine
from tinker_engine.runtime.training_requests import TrainingRuns
from tinker_engine.runtime.usage import DiskQuota, Usage
from tinker_engine.storage.api_keys import ApiKeys
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.database import Database
from tinker_engine.storage.slots import SlotStore
from tinker_engine.storage.store import Store

logger = logging.getLogger(__name__)

_HOUSEKEEPING_S = 30.0
_SESSION_IDLE_S = 3600.0
_STOP_TIMEOUT_S = 60.0


class Engine:
    """Everything between the routes and the backend; methods may be called from any thread.

    With `recovers`, runs and sampling sessions outlive the process: the next engine on the same
    home goes on with them. Without it only checkpoints do.
    """

    def __init__(self, config: EngineConfig, backend: Backend, *, recovers: bool = False) -> None:
        aliases = read_aliases(config.aliases_file)
        self.config = config
        self.id = uuid.uuid4().hex
        self.base = OfferedBase(config.base_model, aliases, backend.base.name, backend.base.path)
        self._backend = backend
        self._database = Database(config.resolved_database_url)
        self._database.migrate()
        self.store = Store(self._database)
        self.api_keys = ApiKeys(self._database)
        self.folders = CheckpointFolders(config.runs_dir)
        self.futures = FutureTable(self.store, self.id, config.result_memory_bytes)
        training = TrainingLine(self.futures, None if config.deterministic else backend)
        self.queue = ComputeQueue(
            self.futures, _Late(lambda: self.samplers), config.sample_batch, training
        )
        self.usage = Usage()
        self.disk = DiskQuota(
            self.usage, self.store.disk_bytes, lambda owner: self.samplers.snapshot_bytes(owner)
        )
        self._recovery = (
            Recovery(backend, self.folders, self.futures.is_wanted) if recovers else None
        )
        self.runs = TrainingRuns(
            backend,
            self.store,
            self.folders,
            self.futures,
            self.queue,
            self.id,
            self.usage,
            self.disk,
            self._recovery,
        )
        self.samplers = Samplers(
            backend,
            self.store,
            self.folders,
            self.futures,
            self.base,
            self.runs.open_checkpoint,
            self.usage,
            self.disk,
            SampleLog(config.home / "samples") if recovers else None,
        )
        self.slots = Slots(
            SlotStore(self._database),
            AdapterShelf(config.home / "adapters"),
            self.samplers,
            self.base,
            backend.base,
            self.on_compute_thread,
            self._later,
        )
        self.models = ServedModels(
            self.base,
            backend.base,
            self.samplers,
            self.slots,
            self.store,
            self.runs.open_checkpoint,
        )
        self.started_at = time.time()
        self.runs.work.take_snapshot = self.samplers.create_snapshot
        self._seen: dict[str, float] = {}
        self._sessions_lock = threading.Lock()
        self._copy_lock = threading.Lock()
        self._is_pausing = False
        self._stop = threading.Event()
        self._keeper = threading.Thread(
            target=self._keep_house, name="tinker-engine-keeper", daemon=True
        )

    @staticmethod
    def open(config: EngineConfig, *, recovers: bool = False) -> Engine:
        """Load the base model and start; raises ModelLoadError or ServerUnavailableError."""
        try:
            config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ServerUnavailableError(
                f"the engine's home {config.home} can't be created: {error}"
            ) from error
        target = resolve(config.base_model, read_aliases(config.aliases_file))
        engine = Engine(config, _load_backend(target, config), recovers=recovers)
        engine.start()
        return engine

    def start(self) -> None:
        """Start the compute thread and the housekeeping."""
        self.folders.sweep()
        self.slots.sweep()
        if self._recovery is not None:
            self._recovery.start()
        self.queue.start()
        self._keeper.start()

    def pause(self) -> None:
        """Take nothing new; whoever waits is told to come again, to this home's next engine."""
        self._is_pausing = True
        self.futures.pause()

    def halt(self) -> None:
        """Finish the job at hand. What waits fails with a typed error, unless the engine paused:
        then it is kept for the next engine on this home.
        """
        self._stop.set()
        has_ended = self.queue.stop(_STOP_TIMEOUT_S)
        if self._is_pausing and has_ended:
            self.runs.save_states()
        elif not self._is_pausing:
            self.futures.fail_pending(Failure("the engine was shut down", "server"))

    def close(self) -> None:
        """Write what is still to be written and close the database; after `halt`."""
        if self._keeper.is_alive():
            self._keeper.join(_STOP_TIMEOUT_S)
        if self._recovery is not None:
            self._recovery.stop()
        self.futures.close()
        self._database.close()

    @property
    def base_info(self) -> BaseInfo:
        """Identity of the base model."""
        return self._backend.base

    @property
    def base_shape(self) -> BaseShape:
        """What an adapter can attach to."""
        return self._backend.shape()

    @cached_property
    def text(self) -> BaseText:
        """Tokenizer and chat template of the base; made when text is first asked for."""
        return BaseText(self._backend.tokenizer)

    def create_session(
        self,
        *,
        sdk_version: str,
        display_name: str | None,
        user_metadata: Mapping[str, Any] | None,
        retry_key: str | None,
    ) -> str:
        """Open a session; the same retry key opens the same session.

        Raises StorageError when it can't be stored; a retry makes it then.
        """
        seed = f"{self.id}:{scoped(retry_key or uuid.uuid4().hex)}"
        session_id = uuid.uuid5(uuid.NAMESPACE_OID, seed).hex
        with self._sessions_lock:
            if session_id not in self._seen:
                if self.store.owner(session_id) is None:
                    self.store.add_session(
                        session_id,
                        sdk_version=sdk_version,
                        display_name=display_name,
                        user_metadata=user_metadata,
                    )
                elif self.store.session(session_id).finished is not None:
                    return session_id
            # Only now: whoever is seen is taken for stored and not finished.
            self._seen[session_id] = time.time()
        return session_id

    def touch_session(self, session_id: str) -> None:
        """Note that a session is alive.

        One that was released for being idle comes back to life, without what it had loaded; an
        engine that recovers loads it again when it is asked for. Raises
        NotFoundError for an unknown session and RequestError for a finished one.
        """
        if session_id not in self._seen or not self.store.is_mine(session_id):
            finished = self.store.session(session_id).finished
            if finished is not None:
                raise RequestError(
                    f"session {session_id!r} is finished ({finished}); create a new ServiceClient"
                )
        self._seen[session_id] = time.time()

    def finish_session(self, session_id: str, reason: str) -> None:
        """End a session: its runs and samplers are unloaded, its checkpoints stay."""
        self.store.session(session_id)
        self.store.finish_session(session_id, reason)
        self._seen.pop(session_id, None)
        runs, _ = self.store.session_members(session_id)
        for run_id in {*runs, *self.runs.runs_of(session_id)}:
            self.runs.discard(run_id)
        self.samplers.end_session(session_id, self._later)

    def is_request_mine(self, request_id: str) -> bool:
        """Whether the current caller may know of a request; unknown ones are nobody's."""
        # Ids of requests begin with the session's: SESSION:train:N:... or SESSION:sample:N:...
        return self.store.is_mine(request_id.partition(":")[0])

    def privacy(self, run_id: str) -> PrivacyRecord:
        """What a private run has spent; raises NotFoundError for a run without privacy."""
        self.runs.live(run_id)
        record = self.on_compute_thread(lambda: self._backend.privacy(run_id), run_id)
        if record is None:
            raise NotFoundError(f"run {run_id!r} has no privacy policy")
        return record

    def upload_adapter(self, config: bytes, weights: bytes) -> str:
        """Store a PEFT adapter's two files for a day; gives the `tinker://` path to sample from.

        Raises CheckpointError unless it is a plain LoRA adapter that fits the base.
        """
        self.disk.check(len(config) + len(weights))
        session_id = self.create_session(
            sdk_version="", display_name="uploaded adapters", user_metadata=None, retry_key="upload"
        )
        return self.on_compute_thread(
            lambda: store_adapter(
                config,
                weights,
                backend=self._backend,
                store=self.store,
                folders=self.folders,
                session_id=session_id,
                engine_id=self.id,
            )
        )

    def delete_checkpoint(self, path: CheckpointPath) -> None:
        """Delete a checkpoint; raises NotFoundError."""
        self.store.checkpoint(path)
        self.store.delete_checkpoint(path)
        self.folders.delete(path)

    def copy_checkpoint(
        self, source: CheckpointPath, run_id: str, ttl_s: int | None
    ) -> CheckpointPath:
        """Copy a checkpoint into a run of its own, which can't be trained on; gives its path.

        Repeating it gives the same copy. Raises NotFoundError for an unknown source, and
        ConflictingRetryError when the run exists and is something else.
        """
        self.disk.check(self.store.checkpoint(source).size_bytes)
        with self._copy_lock:
            return copy_checkpoint(self.store, self.folders, self.id, source, run_id, ttl_s)

    def status(self) -> dict[str, Any]:
        """What the engine is doing, for people and monitors."""
        return {**engine_status(self), **self._backend.sampling_figures()}

    def on_compute_thread(self, work: Callable[[], Any], run_id: str | None = None) -> Any:
        """Run something on the backend's thread and wait for it.

        With a run, it comes after all that this run was asked for before.
        """
        done = threading.Event()
        answer: list[Any] = []
        problem: list[BaseException] = []

        def job() -> Outcome:
            try:
                answer.append(work())
            except BaseException as error:
                problem.append(error)
            finally:
                done.set()
            return {}

        self.queue.submit([Job(Future(uuid.uuid4().hex, INTERNAL, "", run_id), job)])
        while not done.wait(0.5):
            if self._stop.is_set():
                raise ServerUnavailableError("the engine is shutting down")
        if problem:
            raise problem[0]
        return answer[0]

    def _release(self, session_id: str) -> None:
        self._seen.pop(session_id, None)
        for run_id in self.runs.runs_of(session_id):
            self.runs.park(run_id)
        self.samplers.end_session(session_id, self._later, is_over=False)

    def _later(self, work: Callable[[], None]) -> None:
        def job() -> Outcome:
            work()
            return {}

        self.queue.submit([Job(Future(uuid.uuid4().hex, INTERNAL, "", None), job)])

    def _keep_house(self) -> None:
        while not self._stop.wait(_HOUSEKEEPING_S):
            try:
                self._clean_up()
            # Housekeeping is tried again in a moment; it must not end because of one failure.
            except Exception:
                logger.exception("housekeeping failed")

    def _clean_up(self) -> None:
        self.futures.collect()
        self.runs.collect()
        now = time.time()
        seen = dict(self._seen)
        self.store.touch_sessions(seen)
        for session_id, at in seen.items():
            if now - at > _SESSION_IDLE_S:
                logger.info("session %s was not heard of for an hour; releasing it", session_id)
                self._release(session_id)
        for path in self.store.expired_checkpoints():
            self.store.delete_checkpoint(path)
            self.folders.delete(path)


def _load_backend(target: str, config: EngineConfig) -> Backend:
    from transformers.utils import logging as transformers_logging

    from tinker_engine.models import load_base
    from tinker_engine.runtime.torch_backend import TorchBackend

    # A bar for a load of milliseconds would clutter the terminal of every embedded engine.
    was_shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        return TorchBackend(load_base(target), config)
    finally:
        if was_shown:
            transformers_logging.enable_progress_bar()


class _Late:
    """Hands the queue its samplers, which need the queue's futures before they exist."""

    def __init__(self, samplers: Callable[[], Samplers]) -> None:
        self._samplers = samplers

    def prepare(self, sampler_id: str) -> None:
        self._samplers().prepare(sampler_id)

    def begin(self, sampler_id: str, request: Any, watch: Any) -> Any:
        return self._samplers().begin(sampler_id, request, watch)

    def step(self) -> Any:
        return self._samplers().step()
