"""Runs that an earlier process left: put back in memory, with their requests where they were.

A run comes back when somebody asks for it. Its finished requests answer as before, its unfinished
ones are put in line again, and in front of them goes the work that restores its state.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.futures import INTERNAL, Failure, Future, FutureTable, Outcome
from tinker_engine.runtime.jobs import Job
from tinker_engine.runtime.queue import ComputeQueue
from tinker_engine.runtime.records import RunSpec
from tinker_engine.runtime.recovery import Recovery
from tinker_engine.runtime.replay import restore_run
from tinker_engine.runtime.run_journal import (
    CREATE,
    Accepted,
    RunJournal,
    is_failure,
)
from tinker_engine.runtime.submissions import LiveRun, NewRun
from tinker_engine.runtime.training_work import LOAD, OPTIM_STEP, TrainingWork, Work
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.store import Store

logger = logging.getLogger(__name__)

# What was loaded may be deleted later, so it can't be loaded again in a replay.
_SAVED_AFTER = frozenset({OPTIM_STEP, LOAD, CREATE})


class Creation(NamedTuple):
    """How the owner of the runs makes one: as a request of its own, or as part of a replay."""

    begin: Callable[[LiveRun, NewRun], Outcome]
    make: Callable[[NewRun], RunSpec]


class RunReturns:
    """Takes up runs of earlier processes, and notes what later ones will need."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        folders: CheckpointFolders,
        futures: FutureTable,
        queue: ComputeQueue,
        recovery: Recovery,
        work: TrainingWork,
        creation: Creation,
    ) -> None:
        self._backend = backend
        self._store = store
        self._folders = folders
        self._futures = futures
        self._queue = queue
        self._recovery = recovery
        self._work = work
        self._creation = creation

    def take_up(self, run_id: str) -> LiveRun | None:
        """The run with its unfinished requests back in line; None when nothing was left of it."""
        if self._is_of_another_base(run_id):
            return None
        opened = self._recovery.open(run_id)
        if opened is None:
            return None
        journal, requests = opened
        live = self._left_run(run_id, journal, requests)
        if live is None:
            return None
        jobs = self._put_back(live, journal, requests)
        self._recovery.adopt(run_id, journal)
        if live.spec is not None:
            internal = Future(uuid.uuid4().hex, INTERNAL, "", run_id)
            jobs.insert(0, Job(internal, lambda: self._restore(live, requests)))
        self._queue.submit(jobs)
        return live

    def recorder(
        self, live: LiveRun, request_id: str, seq_id: int | None
    ) -> Callable[[Outcome], None] | None:
        """What writes a request's outcome to the run's log before anybody sees it."""
        journal = live.journal
        if journal is None:
            return None
        return lambda outcome: journal.done(request_id, seq_id, outcome)

    def after(self, live: LiveRun) -> Callable[[Future], None]:
        """What is called when a request of the run is finished: its state may have to be saved."""
        recovery = self._recovery

        def after(future: Future) -> None:
            if is_failure(future.outcome):
                if future.request_id.endswith(":create"):
                    recovery.release(live.run_id)
            elif future.kind in _SAVED_AFTER:
                is_private = live.spec is not None and live.spec.privacy is not None
                must_save = future.kind != OPTIM_STEP
                recovery.after_change(live.run_id, is_private=is_private, must_save=must_save)

        return after

    def _is_of_another_base(self, run_id: str) -> bool:
        is_known = self._store.has_run(run_id)
        return is_known and self._store.run(run_id).base_digest != self._backend.base.digest

    def _left_run(
        self, run_id: str, journal: RunJournal, requests: Sequence[Accepted]
    ) -> LiveRun | None:
        create = next((r for r in requests if r.kind == CREATE), None)
        if create is not None and create.done is not None and not create.changes_state:
            self._futures.restore(self._earlier_future(run_id, journal, create))
            return None
        if create is not None and create.done is None:
            new = NewRun.of_request(journal.request(create))
            live = LiveRun(run_id, new.session_id, new.base_model, journal=journal)
        elif not self._store.has_run(run_id):
            return None
        else:
            stored = self._store.run(run_id)
            live = LiveRun(
                run_id, stored.session_id, stored.base_model, spec=stored.spec, journal=journal
            )
        live.gate.next_seq = journal.next_seq
        return live

    def _put_back(
        self, live: LiveRun, journal: RunJournal, requests: Sequence[Accepted]
    ) -> list[Job]:
        """Make the requests known again; gives the work of those whose turn it is."""
        jobs: list[Job] = []
        for request in requests:
            future = self._earlier_future(live.run_id, journal, request)
            if request.done is None:
                future.record = self.recorder(live, request.request_id, request.seq_id)
                future.on_done = self.after(live)
                job = Job(future, self._again(live, journal, request))
                self._futures.restore(future)
                jobs += live.gate.admit(request.seq_id, job)
            else:
                self._futures.restore(future)
        return jobs

    def _earlier_future(self, run_id: str, journal: RunJournal, request: Accepted) -> Future:
        future = Future(request.request_id, request.kind, request.digest, run_id)
        future.created_at = request.accepted_at
        future.outcome = journal.outcome(request)
        if future.outcome is not None:
            # It may have been fetched before; it is kept as if it had been a moment ago.
            future.finished_at = future.fetched_at = time.time()
        return future

    def _again(self, live: LiveRun, journal: RunJournal, request: Accepted) -> Work:
        if request.kind == CREATE:
            return lambda: self._creation.begin(live, NewRun.of_request(journal.request(request)))

        def work() -> Outcome:
            logged = journal.request(request)
            return self._work.of(live.run_id, logged, request.accepted_at)()

        return lambda: live.unless_failed(work)

    def _restore(self, live: LiveRun, requests: Sequence[Accepted]) -> Outcome:
        """Bring a run back to what its last finished request left; on the compute thread."""
        assert live.journal is not None
        try:
            replayed = restore_run(
                live.run_id,
                self._recovery.saved(live.run_id),
                [request for request in requests if request.changes_state],
                restore=lambda file: self._backend.restore_progress(
                    live.run_id, file, self._folders.ledger_dir(live.run_id)
                ),
                redo=lambda request: self._redo(live, request),
                outcome=live.journal.outcome,
            )
            logger.info("run %s goes on; %d requests were replayed", live.run_id, replayed)
        except Exception as error:
            logger.exception("run %s could not be restored", live.run_id)
            self._backend.drop_run(live.run_id)
            live.failure = Failure(
                f"run {live.run_id} could not be restored after a restart ({error}); continue from "
                "its last checkpoint",
                "server",
            )
        return {}

    def _redo(self, live: LiveRun, request: Accepted) -> Outcome:
        assert live.journal is not None
        logged = live.journal.request(request)
        if request.kind == CREATE:
            live.spec = self._creation.make(NewRun.of_request(logged))
            return {}
        return self._work.of(live.run_id, logged, is_repeated=True)()
