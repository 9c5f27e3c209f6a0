"""Sampling sessions: which weights they use, and the requests that are sent to them.

A session's weights are loaded when the first request reaches the backend, and may be dropped and
loaded again: at most `MAX_LOADED` stay in memory. Unnamed snapshots live in a folder of their run
until their session ends.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinker_engine.errors import CheckpointError, NotFoundError, RequestError
from tinker_engine.protocol.paths import CheckpointPath, parse_path
from tinker_engine.protocol.requests import SampleBody
from tinker_engine.protocol.tensors import TensorBody, layout_from_json, tensor_from_json
from tinker_engine.protocol.training import check_tokens, prompt_tokens
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.completions import CompletionLog
from tinker_engine.runtime.futures import SAMPLE, Failure, Future, FutureTable
from tinker_engine.runtime.names import OfferedBase
from tinker_engine.runtime.queue import ComputeQueue, SampleJob
from tinker_engine.runtime.records import CsrLayout, IntArray, SampleRequest, SampleResult
from tinker_engine.runtime.sample_log import SampleLog
from tinker_engine.runtime.sample_watch import Watch
from tinker_engine.runtime.usage import DiskQuota, Usage, folder_bytes
from tinker_engine.storage.checkpoints import CheckpointFolders, verify_folder
from tinker_engine.storage.store import Store

MAX_LOADED = 16
_CLONE_BLOCK = 1_000_000_000
_ENDED_KEPT = 1024


@dataclass
class Sampler:
    """One sampling session. `source` gives the adapter folder, None for the bare base.

    With `digest`, the weights that are loaded must have it.
    """

    id: str
    session_id: str
    base_model: str
    model_path: str | None
    source: Callable[[], Path] | None
    snapshot: Path | None = None
    digest: str | None = None
    clients: int = 0
    first_cursor: int = 0
    logs: dict[int, CompletionLog] = field(default_factory=dict)

    def log(self, clone: int) -> CompletionLog:
        """The completion log of one client of this session."""
        return self.logs.setdefault(clone, CompletionLog(self.first_cursor))


class Samplers:
    """All sampling sessions of this process; the queue's SampleRunner."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        folders: CheckpointFolders,
        futures: FutureTable,
        base: OfferedBase,
        open_checkpoint: Callable[[CheckpointPath], Path],
        usage: Usage,
        disk: DiskQuota,
        sample_log: SampleLog | None = None,
    ) -> None:
        self._backend = backend
        self._store = store
        self._folders = folders
        self._futures = futures
        self._base = base
        self._open_checkpoint = open_checkpoint
        self._usage = usage
        self._disk = disk
        self._sample_log = sample_log
        self._samplers: dict[str, Sampler] = {}
        self._served: dict[str, Sampler] = {}
        self._ended: OrderedDict[str, Sampler] = OrderedDict()
        self._loaded: OrderedDict[str, str | None] = OrderedDict()
        self._lock = threading.Lock()

    def create(
        self, sampler_id: str, session_id: str, *, base_model: str | None, model_path: str | None
    ) -> Sampler:
        """Open a sampling session on a checkpoint or on the bare base; repeating it is harmless.

        Raises NotFoundError for an unknown checkpoint or base model.
        """
        with self._lock:
            known = self._samplers.get(sampler_id)
        if known is not None:
            return known
        if base_model is not None:
            self._base.check(base_model)
        source: Callable[[], Path] | None = None
        run_id: str | None = None
        if model_path is not None:
            path = parse_path(model_path)
            self._store.checkpoint(path)
            source, run_id = self._source(path), path.run_id
        elif base_model is None:
            raise RequestError("give model_path (a tinker:// checkpoint) or base_model")
        name = self._backend.base.name
        self._store.add_sampler(
            sampler_id,
            session_id=session_id,
            base_model=name,
            model_path=model_path,
            run_id=run_id,
        )
        sampler = Sampler(sampler_id, session_id, name, model_path, source)
        with self._lock:
            return self._samplers.setdefault(sampler_id, sampler)

    def create_snapshot(self, run_id: str, session_id: str, sampler_id: str) -> str:
        """Snapshot a run's weights as a new sampling session; called on the compute thread."""
        folder = self._folders.snapshot_dir(run_id, sampler_id)

        def fill(new: Path) -> None:
            self._backend.save_adapter(run_id, new)
            self._disk.check(folder_bytes(new))

        self._folders.write_folder(folder, fill, name=sampler_id)
        name = self._backend.base.name
        self._store.add_sampler(
            sampler_id, session_id=session_id, base_model=name, model_path=None, run_id=run_id
        )
        sampler = self._snapshot_sampler(sampler_id, session_id, folder)
        with self._lock:
            self._samplers[sampler_id] = sampler
        return sampler_id

    def serve(self, sampler_id: str, source: Callable[[], Path] | None, digest: str | None) -> None:
        """Offer weights without a session, until they are withdrawn; repeating it is harmless.

        No session can name them: only `ServedModels` and `Slots` do, which know who may.
        """
        name = self._backend.base.name
        with self._lock:
            self._served.setdefault(
                sampler_id, Sampler(sampler_id, "", name, None, source, digest=digest)
            )

    def withdraw(self, sampler_id: str, run_drop: Callable[[Callable[[], None]], None]) -> None:
        """End what `serve` offers; `run_drop` runs the backend's part on its thread."""
        with self._lock:
            sampler = self._served.pop(sampler_id, None)
        if sampler is not None:
            run_drop(lambda: self._drop(sampler))

    def get(self, sampler_id: str) -> Sampler:
        """A sampling session; one of an earlier process is opened again. Raises NotFoundError."""
        with self._lock:
            sampler = self._samplers.get(sampler_id)
        sampler = sampler or self._reopened(sampler_id)
        if sampler is None or not self._store.is_mine(sampler.session_id):
            raise NotFoundError(
                f"sampling session {sampler_id!r} is not open (ended, or from before a restart); "
                "create the sampling client again"
            )
        return sampler

    def _reopened(self, sampler_id: str) -> Sampler | None:
        """A session as it was stored, unless its client session is over or its weights are gone."""
        if self._sample_log is None:
            return None
        row = self._store.sampler(sampler_id)
        if self._store.session(row.session_id).finished is not None:
            return None
        sampler = Sampler(sampler_id, row.session_id, row.base_model, row.model_path, None)
        if row.model_path is not None:
            path = parse_path(row.model_path)
            self._store.checkpoint(path)
            sampler.source = self._source(path)
        elif row.run_id is not None:
            folder = self._folders.snapshot_dir(row.run_id, sampler_id)
            if not folder.is_dir():
                return None
            sampler = self._snapshot_sampler(sampler_id, row.session_id, folder)
        sampler.clients = row.clients
        # Microseconds since the epoch are more than anyone has been told completions.
        sampler.first_cursor = time.time_ns() // 1000
        for request_id in self._sample_log.lost(sampler_id):
            clone = int(request_id.rpartition(":")[2]) // _CLONE_BLOCK
            sampler.log(clone).add_lost(request_id)
        with self._lock:
            return self._samplers.setdefault(sampler_id, sampler)

    def _snapshot_sampler(self, sampler_id: str, session_id: str, folder: Path) -> Sampler:
        def source() -> Path:
            verify_folder(folder, f"the snapshot of {sampler_id}")
            return folder

        name = self._backend.base.name
        return Sampler(sampler_id, session_id, name, None, source, snapshot=folder)

    def log(self, sampler_id: str, clone: int) -> CompletionLog:
        """Completions of one client of a session; of one that has ended, too.

        The client of an ended session may still poll for what it sent before.
        """
        with self._lock:
            ended = self._ended.get(sampler_id)
        if ended is not None and self._store.is_mine(ended.session_id):
            return ended.log(clone)
        return self.get(sampler_id).log(clone)

    def count(self, owner: str | None = None) -> int:
        """How many sampling sessions are open, of one owner or of all."""
        with self._lock:
            sessions = [sampler.session_id for sampler in self._samplers.values()]
        if owner is None:
            return len(sessions)
        return sum(self._store.owner(session_id) == owner for session_id in sessions)

    def snapshot_bytes(self, owner: str) -> int:
        """Disk space of an owner's unnamed snapshots."""
        with self._lock:
            samplers = [s for s in self._samplers.values() if s.snapshot is not None]
        return sum(
            folder_bytes(sampler.snapshot)
            for sampler in samplers
            if sampler.snapshot is not None and self._store.owner(sampler.session_id) == owner
        )

    def join(self, sampler_id: str) -> int:
        """A number for a further client of a session (the first client is 0)."""
        sampler = self.get(sampler_id)
        with self._lock:
            sampler.clients += 1
            number = sampler.clients
        if self._sample_log is not None:
            # Numbers must not come again after a restart.
            self._store.set_sampler_clients(sampler_id, number)
        return number

    def submit(
        self, queue: ComputeQueue, sampler: Sampler, body: SampleBody, digest: str, retry_key: str
    ) -> str:
        """Queue one sampling request; gives its request id.

        Raises RequestError for what cannot be served, naming the field.
        """
        request = self._request(body)
        seq = body.seq_id
        request_id = f"{sampler.id}:{seq if seq is not None else retry_key}"
        log = sampler.log(0 if seq is None else seq // _CLONE_BLOCK)
        is_known = self._futures.get(request_id) is not None
        tokens = 0 if is_known else request.most_tokens
        keeper = self._sample_log if seq is not None else None
        with self._usage.hold(SAMPLE, tokens) as hold:

            def on_done(future: Future) -> None:
                hold.settle(future)
                log.add(future)

            future, is_new = self._futures.register(
                request_id,
                kind=SAMPLE,
                digest=digest,
                on_done=on_done,
                on_fetched=None if keeper is None else keeper.settle,
            )
            if is_new:
                hold.keep()
        if is_new and keeper is not None:
            keeper.accept(request_id)
        if is_new:
            queue.submit_sample(sampler.id, SampleJob(future, request, body.prompt_logprobs_last_n))
        return request_id

    def cancel(self, request_id: str) -> None:
        """Drop a sampling request; one that runs leaves the batch at the next step."""
        future = self._futures.get(request_id)
        if future is not None and future.kind == SAMPLE and future.outcome is None:
            future.is_cancelled = True
            self._futures.finish(future, Failure("cancelled by the client", "user"))

    def end_session(
        self,
        session_id: str,
        run_drop: Callable[[Callable[[], None]], None],
        *,
        is_over: bool = True,
    ) -> None:
        """Close a session's samplers; `run_drop` runs the backend's part on its thread.

        Snapshots of a session that isn't over stay on disk if it can be opened again.
        """
        keeps = self._sample_log is not None and not is_over
        with self._lock:
            mine = [s for s in self._samplers.values() if s.session_id == session_id]
            for sampler in mine:
                self._samplers.pop(sampler.id)
                if not keeps:
                    self._ended[sampler.id] = sampler
            while len(self._ended) > _ENDED_KEPT:
                self._ended.popitem(last=False)
        for sampler in mine:
            run_drop(lambda sampler=sampler: self._drop(sampler, keeps_files=keeps))

    def prepare(self, sampler_id: str) -> None:
        """Load a session's weights unless they are in memory."""
        if sampler_id in self._loaded:
            self._loaded.move_to_end(sampler_id)
            return
        sampler = self._served.get(sampler_id) or self.get(sampler_id)
        while len(self._loaded) >= MAX_LOADED:
            oldest, _ = self._loaded.popitem(last=False)
            self._backend.drop_sampler(oldest)
        adapter = None if sampler.source is None else sampler.source()
        loaded = self._backend.create_sampler(sampler_id, adapter)
        if sampler.digest is not None and loaded != sampler.digest:
            self._backend.drop_sampler(sampler_id)
            raise CheckpointError(f"the weights have digest {loaded}, expected {sampler.digest}")
        self._loaded[sampler_id] = loaded

    def begin(self, sampler_id: str, request: SampleRequest, watch: Watch) -> object:
        """Take a request into the running batch."""
        return self._backend.begin_sample(sampler_id, request, watch)

    def step(self) -> Sequence[tuple[object, SampleResult | Exception]]:
        """Move the running batch on."""
        return self._backend.step_samples()

    def _drop(self, sampler: Sampler, *, keeps_files: bool = False) -> None:
        if sampler.id in self._loaded:
            del self._loaded[sampler.id]
            self._backend.drop_sampler(sampler.id)
        if keeps_files:
            return
        if self._sample_log is not None:
            self._sample_log.forget(sampler.id)
        if sampler.snapshot is not None:
            shutil.rmtree(sampler.snapshot, ignore_errors=True)

    def _source(self, path: CheckpointPath) -> Callable[[], Path]:
        def source() -> Path:
            folder = self._open_checkpoint(path)
            if not (folder / "adapter_config.json").is_file():
                raise CheckpointError(f"{path} holds no adapter files")
            return folder

        return source

    def _request(self, body: SampleBody) -> SampleRequest:
        if body.record_stability_info:
            raise RequestError(
                "record_stability_info is not served: this server has no stable_reinforce loss"
            )
        base = self._backend.base
        prompt = prompt_tokens(body.prompt, "prompt")
        if not 1 <= prompt.size <= base.max_context:
            raise RequestError(
                f"the prompt has {prompt.size} tokens; expected 1 to {base.max_context}, "
                "the context of this model"
            )
        check_tokens(prompt, base.vocab_size, "prompt tokens")
        params = body.sampling_params
        room = base.max_context - prompt.size + 1
        stop = [params.stop] if isinstance(params.stop, str) else list(params.stop or [])
        last_n = body.prompt_logprobs_last_n
        if last_n is not None and (not body.prompt_logprobs or last_n >= max(prompt.size, 2)):
            raise RequestError(
                f"prompt_logprobs_last_n is {last_n}; it needs prompt_logprobs and a value from 1 "
                f"to {prompt.size - 1}"
            )
        targets, layout = _prompt_targets(body, prompt.size, base.vocab_size)
        return SampleRequest(
            prompt=prompt,
            num_samples=body.num_samples,
            max_tokens=min(params.max_tokens or room, room),
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=params.top_k,
            seed=params.seed,
            stop_token_ids=tuple(item for item in stop if isinstance(item, int)),
            stop_strings=tuple(item for item in stop if isinstance(item, str) and item),
            prompt_logprobs=bool(body.prompt_logprobs),
            topk_prompt_logprobs=body.topk_prompt_logprobs,
            topk_sample_logprobs=body.topk_sample_logprobs,
            prompt_targets=targets,
            prompt_targets_layout=layout,
            prompt_alt_tokens=body.prompt_alt_tokens_k,
            goes_past_end=params.stop == [],
        )


def _prompt_targets(
    body: SampleBody, length: int, vocab_size: int
) -> tuple[IntArray | None, CsrLayout | None]:
    """Ids (T - 1, K) whose logprobs at the prompt are asked for, and how they were listed."""
    if body.target_prompt_logprobs is None:
        return None, None
    name = "target_prompt_logprobs"
    tensor = TensorBody.model_validate(body.target_prompt_logprobs)
    ids = tensor_from_json(tensor, name, pad=-1)
    is_fitting = ids.ndim == 2 and ids.shape[0] == length - 1 and ids.shape[1] <= vocab_size
    if not is_fitting or ids.dtype.kind != "i":
        raise RequestError(
            f"{name} is {ids.dtype} of shape {list(ids.shape)}; expected int64 of shape "
            f"[{length - 1}, K], one row for each prompt token after the first"
        )
    check_tokens(ids[ids != -1], vocab_size, name)
    return ids, layout_from_json(tensor)
