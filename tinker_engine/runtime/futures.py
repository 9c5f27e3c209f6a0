"""Requests that are answered later: registered once, finished once, fetched as often as needed.

A request is known by an id that a retry arrives at again (run and sequence number, or the
idempotency key), and by the digest of its payload: the same id with the same payload is the same
request, with another payload it is refused. Training requests are also written to the database, in
the background and in batches; sampling requests are not, because they can simply be sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinker_engine.errors import (
    ConflictingRetryError,
    EngineError,
    NotFoundError,
    ServerUnavailableError,
)
from tinker_engine.protocol.results import loss_size, sample_size
from tinker_engine.runtime.journal import FutureStore, Journal
from tinker_engine.runtime.records import LossOutput, SampleResult
from tinker_engine.storage.store import FutureRecord

_KEEP_FETCHED_S = 120.0
_REPEATED_FETCH_S = 30.0
_KEEP_UNFETCHED_S = 24 * 3600.0
SAMPLE = "sample"
INTERNAL = "internal"
_FREQUENT = frozenset({"forward", "forward_backward", "optim_step"})
_NOT_STORED = frozenset({SAMPLE, INTERNAL})


@dataclass(frozen=True)
class Failure:
    """How a request failed; `category` is "user" or "server"."""

    message: str
    category: str

    @staticmethod
    def of(error: EngineError) -> Failure:
        """The failure that a client sees for an engine error."""
        return Failure(str(error), error.category)


@dataclass(frozen=True)
class Dropped:
    """Stands for a result that was fetched and is no longer kept."""


Outcome = dict[str, Any] | LossOutput | SampleResult | Failure | Dropped


@dataclass
class Future:
    """One request. `outcome` is None while it is pending.

    `record` makes an outcome durable before anybody sees it; `on_done` is called once it is set.
    """

    request_id: str
    kind: str
    digest: str
    run_id: str | None
    created_at: float = field(default_factory=time.time)
    outcome: Outcome | None = None
    finished_at: float | None = None
    fetched_at: float | None = None
    is_cancelled: bool = False
    is_ending: bool = False
    record: Callable[[Outcome], None] | None = None
    on_done: Callable[[Future], None] | None = None
    on_fetched: Callable[[str], None] | None = None
    waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = field(
        default_factory=list
    )


class FutureTable:
    """All requests this process knows; safe to use from several threads."""

    def __init__(self, store: FutureStore, engine_id: str, fetched_bytes: int) -> None:
        self._store = store
        self._engine_id = engine_id
        self._futures: dict[str, Future] = {}
        self._fetched: OrderedDict[str, int] = OrderedDict()
        self._fetched_bytes = 0
        self._fetched_limit = fetched_bytes
        self._lock = threading.Lock()
        self._journal = Journal(store)
        self._is_closing = False
        # Looks for a request of an earlier process and adds it here with `restore`.
        self.revive: Callable[[str], None] | None = None

    def register(
        self,
        request_id: str,
        *,
        kind: str,
        digest: str,
        run_id: str | None = None,
        record: Callable[[Outcome], None] | None = None,
        on_done: Callable[[Future], None] | None = None,
        on_fetched: Callable[[str], None] | None = None,
    ) -> tuple[Future, bool]:
        """The request with this id, and whether it is new.

        Raises ConflictingRetryError when the id was used with another payload, and
        ServerUnavailableError when the engine is stopping.
        """
        with self._lock:
            future = self._futures.get(request_id)
            if future is not None:
                _check_same(request_id, future.digest, digest)
                return future, False
            self._check_open()
            future = Future(
                request_id,
                kind,
                digest,
                run_id,
                record=record,
                on_done=on_done,
                on_fetched=on_fetched,
            )
            self._futures[request_id] = future
        self._note(future)
        return future, True

    def restore(self, future: Future) -> None:
        """Add a request of an earlier process as it was."""
        with self._lock:
            self._futures.setdefault(future.request_id, future)

    def recall(self, request_id: str, digest: str) -> bool:
        """Whether an earlier request, in memory or stored, has this id and payload.

        Raises ConflictingRetryError when it had another payload.
        """
        with self._lock:
            future = self._futures.get(request_id)
        known = future or self._store.future(request_id)
        if known is None:
            return False
        _check_same(
            request_id, known.digest if isinstance(known, Future) else known.payload_digest, digest
        )
        return True

    def finish(self, future: Future, outcome: Outcome) -> None:
        """Set the outcome and wake whoever waits; a second outcome is ignored."""
        with self._lock:
            if future.is_ending or future.outcome is not None:
                return
            future.is_ending = True
        if future.record is not None:
            future.record(outcome)
        with self._lock:
            future.outcome = outcome
            future.finished_at = time.time()
            waiters, future.waiters = future.waiters, []
        self._note(future)
        # First, so that who is woken finds the tokens of this request given back.
        if future.on_done is not None:
            future.on_done(future)
        for loop, waiter in waiters:
            # A loop that is closed has nobody left who waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_wake, waiter)

    async def wait(self, request_id: str, timeout_s: float) -> Future | None:
        """The request once it is finished, or None when it is still pending after the timeout.

        Raises NotFoundError for an unknown id, ServerUnavailableError when the engine stops first.
        A request of an earlier process goes on if its run could be taken up; else it comes back as
        it was stored, or failed with advice.
        """
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        entry = (loop, waiter)
        future = self.get(request_id)
        if future is None:
            future = await asyncio.to_thread(self._found, request_id)
        with self._lock:
            if future.outcome is not None:
                return future
            self._check_open()
            future.waiters.append(entry)
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return None
        finally:
            with self._lock:
                if entry in future.waiters:
                    future.waiters.remove(entry)
        if future.outcome is None:
            self._check_open()
        return future

    def get(self, request_id: str) -> Future | None:
        """The request, if this process knows it."""
        with self._lock:
            return self._futures.get(request_id)

    def mark_fetched(self, future: Future) -> None:
        """Note that the result went out; large ones are dropped once there are too many."""
        size = _size(future.outcome)
        if future.fetched_at is None and future.on_fetched is not None:
            future.on_fetched(future.request_id)
        with self._lock:
            future.fetched_at = future.fetched_at or time.time()
            if size and future.request_id not in self._fetched:
                self._fetched[future.request_id] = size
                self._fetched_bytes += size
            while self._fetched_bytes > self._fetched_limit and self._fetched:
                request_id, dropped = self._fetched.popitem(last=False)
                self._fetched_bytes -= dropped
                self._futures[request_id].outcome = Dropped()

    def forget(self, request_ids: Sequence[str]) -> None:
        """Let go of requests whose results the client says it has."""
        with self._lock:
            for request_id in request_ids:
                future = self._futures.get(request_id)
                if future is not None and future.outcome is not None:
                    self._remove(request_id)

    def collect(self) -> None:
        """Let go of results that were fetched a while ago, or that nobody came for."""
        now = time.time()
        with self._lock:
            old = [
                f.request_id
                for f in self._futures.values()
                if (f.fetched_at is not None and now - f.fetched_at > _KEEP_FETCHED_S)
                or (f.finished_at is not None and now - f.finished_at > _KEEP_UNFETCHED_S)
            ]
            for request_id in old:
                self._remove(request_id)

    def is_wanted(self, request_id: str) -> bool:
        """Whether a result may still be asked for: not fetched, or only a moment ago."""
        with self._lock:
            future = self._futures.get(request_id)
        if future is None:
            return False
        return future.fetched_at is None or time.time() - future.fetched_at < _REPEATED_FETCH_S

    def pause(self) -> None:
        """Take nothing new; who waits is told to come again, which a server's successor answers."""
        with self._lock:
            self._is_closing = True
            waiters = [w for f in self._futures.values() for w in f.waiters]
        for loop, waiter in waiters:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_wake, waiter)

    def fail_pending(self, failure: Failure) -> None:
        """Fail everything that is not finished, when the engine stops."""
        with self._lock:
            pending = [f for f in self._futures.values() if f.outcome is None]
        for future in pending:
            self.finish(future, failure)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all requests that are stored are in the database; False if they aren't yet."""
        return self._journal.flush(timeout_s)

    def close(self) -> None:
        """Write what is still to be written."""
        self._journal.close()

    def _check_open(self) -> None:
        if self._is_closing:
            raise ServerUnavailableError("the server is stopping; send this again in a moment")

    def _found(self, request_id: str) -> Future:
        if self.revive is not None:
            self.revive(request_id)
        return self.get(request_id) or self._from_store(request_id)

    def _remove(self, request_id: str) -> None:
        self._futures.pop(request_id, None)
        self._fetched_bytes -= self._fetched.pop(request_id, 0)

    def _note(self, future: Future) -> None:
        # What a run's own log holds is not written twice.
        is_pending = future.outcome is None
        is_logged = future.record is not None and is_pending and future.kind in _FREQUENT
        if future.kind in _NOT_STORED or is_logged:
            return
        outcome = future.outcome
        failure = outcome if isinstance(outcome, Failure) else None
        state = "pending" if outcome is None else "failed" if failure else "done"
        self._journal.put(
            FutureRecord(
                id=future.request_id,
                run_id=future.run_id,
                kind=future.kind,
                payload_digest=future.digest,
                state=state,
                engine_id=self._engine_id,
                created_at=future.created_at,
                result=outcome if isinstance(outcome, dict) else None,
                error=failure.message if failure else None,
                category=failure.category if failure else None,
                finished_at=future.finished_at,
            )
        )

    def _from_store(self, request_id: str) -> Future:
        record = self._store.future(request_id)
        if record is None:
            raise unknown_request(request_id)
        future = Future(record.id, record.kind, record.payload_digest, record.run_id)
        if record.result is not None:
            future.outcome = record.result
        elif record.state == "failed":
            future.outcome = Failure(record.error or "failed", record.category or "server")
        elif record.state == "done":
            future.outcome = Dropped()
        elif record.kind == "unload_model":
            # Either it was done, or the run went with the process that held it.
            future.outcome = {"type": "unload_model", "model_id": record.run_id}
        else:
            future.outcome = Failure(
                "the engine stopped before this request was finished; continue from the last "
                "checkpoint with create_training_client_from_state_with_optimizer",
                "server",
            )
        return future


def unknown_request(request_id: str) -> NotFoundError:
    """The error for a request that this server does not know."""
    return NotFoundError(
        f"request {request_id!r} is unknown: it was never sent to this server, its result "
        "was fetched long ago, or the server restarted since"
    )


def outcome_size(outcome: Outcome | None) -> int:
    """Rough bytes of a result on the wire."""
    return _size(outcome) or 256


def _size(outcome: Outcome | None) -> int:
    if isinstance(outcome, LossOutput):
        return loss_size(outcome)
    if isinstance(outcome, SampleResult):
        return sample_size(outcome)
    return 0


def _check_same(request_id: str, known: str, given: str) -> None:
    if known != given:
        raise ConflictingRetryError(
            f"request {request_id!r} was sent before with another payload; "
            "a retry must repeat the same request"
        )


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
