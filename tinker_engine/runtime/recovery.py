"""Keeping runs recoverable: their logs on disk, and states that are saved now and then.

After a crash a run is its last saved state plus the requests that came after it, done again in
their order. Saving costs time of the compute thread, replaying costs time after a crash; states are
therefore saved as often as a fixed share of the time allows. Flushing to disk and deleting what is
no longer needed happens on a thread of its own.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tinker_engine.errors import StorageError
from tinker_engine.models.adapter_files import sync_folder
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.run_journal import Accepted, RunJournal
from tinker_engine.runtime.run_log import RunLog
from tinker_engine.storage.checkpoints import CheckpointFolders

logger = logging.getLogger(__name__)

# Share of the time that may go into saving states; the time to replay after a crash is at most
# what came before the crash since the last state, about the inverse of it times one saving.
SAVING_SHARE = 0.02
_MOST_CREDIT_S = 1.0
# The privacy ledger keeps the updates of the last 64 steps; a replay needs all since the state.
MOST_PRIVATE_STEPS = 32
MOST_REPLAYED_BYTES = 64 << 20
_FLUSH_S = 0.2
_KEEP_UNUSED_S = 7 * 24 * 3600.0
_STATE, _NEW = ".state", ".state.new"
_STOP_TIMEOUT_S = 30.0


class SavedState(NamedTuple):
    """A state file and the ordinal of the last request that is in it."""

    ordinal: int
    file: Path


class Recovery:
    """Logs and states of all runs of one engine. `save` is called on the compute thread."""

    def __init__(
        self, backend: Backend, folders: CheckpointFolders, is_wanted: Callable[[str], bool]
    ) -> None:
        self._backend = backend
        self._folders = folders
        self._is_wanted = is_wanted
        self._journals: dict[str, RunJournal] = {}
        self._saved: dict[str, int] = {}
        self._private_steps: dict[str, int] = {}
        self._lock = threading.Lock()
        self._credit_s = _MOST_CREDIT_S
        self._credited_at = time.monotonic()
        self._stop = threading.Event()
        self._flusher = threading.Thread(
            target=self._keep_flushing, name="tinker-engine-recovery", daemon=True
        )

    def start(self) -> None:
        """Forget runs that nobody has used for a week, and start flushing."""
        for folder in self._folders.run_logs():
            newest = max((file.stat().st_mtime for file in folder.iterdir()), default=0.0)
            if time.time() - newest > _KEEP_UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)
        self._flusher.start()

    def begin(self, run_id: str) -> RunJournal:
        """A new run's journal."""
        journal = RunJournal(RunLog(self._folders.log_dir(run_id)))
        self.adopt(run_id, journal)
        return journal

    def open(self, run_id: str) -> tuple[RunJournal, list[Accepted]] | None:
        """The journal that an earlier process left, with its requests; None without one.

        It is neither flushed nor shortened before it is adopted: what can still be asked for is
        not known until then.
        """
        folder = self._folders.log_dir(run_id)
        return RunJournal.open(RunLog(folder)) if folder.is_dir() else None

    def adopt(self, run_id: str, journal: RunJournal) -> None:
        """Look after a run's journal from now on."""
        for leftover in self._folders.log_dir(run_id).glob(f"*{_NEW}"):
            leftover.unlink(missing_ok=True)
        self._saved.pop(run_id, None)
        with self._lock:
            before = self._journals.get(run_id)
            self._journals[run_id] = journal
        if before is not None:
            before.close()

    def saved(self, run_id: str) -> SavedState | None:
        """The newest saved state of a run."""
        files = sorted(self._folders.log_dir(run_id).glob(f"*{_STATE}"))
        return SavedState(int(files[-1].name.removesuffix(_STATE)), files[-1]) if files else None

    def after_change(self, run_id: str, *, is_private: bool, must_save: bool) -> None:
        """Note that a run's state has changed, and save it if it is time."""
        journal = self._journals.get(run_id)
        if journal is None:
            return
        steps = self._private_steps.get(run_id, 0) + is_private
        self._private_steps[run_id] = steps
        is_long = steps >= MOST_PRIVATE_STEPS or journal.since_state_bytes >= MOST_REPLAYED_BYTES
        if must_save or is_long or self._has_credit():
            self.save(run_id)

    def save(self, run_id: str) -> None:
        """Save a run's state unless the saved one is as new; a full disk leaves the old one."""
        journal = self._journals.get(run_id)
        if journal is None or journal.ordinal == self._saved.get(run_id):
            return
        began = time.monotonic()
        folder = self._folders.log_dir(run_id)
        ordinal = journal.ordinal
        try:
            self._backend.save_progress(run_id, folder / f"{ordinal:012d}{_NEW}")
        except StorageError as error:
            logger.warning("run %s: %s; the one before stays", run_id, error)
        else:
            self._saved[run_id] = ordinal
            self._private_steps[run_id] = 0
            journal.since_state_bytes = 0
        self._credit_s -= time.monotonic() - began

    def release(self, run_id: str) -> None:
        """Close a run's journal; it can be opened again."""
        with self._lock:
            journal = self._journals.pop(run_id, None)
        if journal is not None:
            self._finish_state(run_id)
            journal.close()

    def forget(self, run_id: str) -> None:
        """Delete log and state of a run that was unloaded."""
        with self._lock:
            journal = self._journals.pop(run_id, None)
        if journal is not None:
            journal.delete()
        shutil.rmtree(self._folders.log_dir(run_id), ignore_errors=True)

    def stop(self) -> None:
        """Flush everything and close."""
        self._stop.set()
        if self._flusher.is_alive():
            self._flusher.join(_STOP_TIMEOUT_S)
        for run_id in list(self._journals):
            self.release(run_id)

    def _has_credit(self) -> bool:
        now = time.monotonic()
        earned = (now - self._credited_at) * SAVING_SHARE
        self._credited_at = now
        self._credit_s = min(_MOST_CREDIT_S, self._credit_s + earned)
        return self._credit_s > 0

    def _keep_flushing(self) -> None:
        while not self._stop.wait(_FLUSH_S):
            with self._lock:
                journals = list(self._journals.items())
            for run_id, journal in journals:
                try:
                    self._flush(run_id, journal)
                # One run's disk trouble must not end the flushing of the others.
                except Exception:
                    logger.exception("the log of run %s could not be flushed", run_id)

    def _flush(self, run_id: str, journal: RunJournal) -> None:
        journal.sync()
        self._finish_state(run_id)
        saved = self.saved(run_id) if journal.is_long else None
        if saved is not None:
            journal.tidy(saved.ordinal, self._is_wanted)

    def _finish_state(self, run_id: str) -> None:
        """Bring the newest state to the disk under its name; then the older ones can go."""
        folder = self._folders.log_dir(run_id)
        ordinal = self._saved.get(run_id)
        new = folder / f"{ordinal:012d}{_NEW}" if ordinal is not None else None
        if new is None or not new.is_file():
            return
        descriptor = os.open(new, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        current = new.with_name(new.name.removesuffix(_NEW) + _STATE)
        new.rename(current)
        sync_folder(folder)
        for file in folder.iterdir():
            name = file.name
            is_older = name.endswith((_STATE, _NEW)) and name < current.name
            if is_older:
                file.unlink(missing_ok=True)
