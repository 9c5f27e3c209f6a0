"""What one run was asked for, and how each request ended, kept until it is in a saved state.

A request is in the log before its submit is answered, and its outcome before anybody sees it. The
order of the outcomes is the order in which requests took effect; each has a number (`ordinal`), and
a saved state says up to which one it goes. A segment of the log may go when all its requests are
in the saved state and their results have been fetched.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinker_engine.runtime.futures import Failure, Outcome
from tinker_engine.runtime.run_log import Entry, RunLog
from tinker_engine.runtime.stored_outcomes import read_outcome, write_outcome

CREATE = "create"
_SEGMENT_BYTES = 4 << 20
# Requests that change a run's state when they succeed.
_CHANGING = frozenset({CREATE, "forward_backward", "optim_step", "load_weights"})


@dataclass(frozen=True)
class LoggedRequest:
    """One request as it is done again after a crash: its kind, its parameters and its body."""

    kind: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    body: bytes = b""


@dataclass(frozen=True)
class Accepted:
    """A request in the log. `ordinal` is None while it is unfinished."""

    request_id: str
    seq_id: int | None
    digest: str
    entry: Entry
    accepted_at: float
    done: Entry | None = None

    @property
    def kind(self) -> str:
        """What was asked for."""
        return str(self.entry.header["kind"])

    @property
    def ordinal(self) -> int | None:
        """Its place in the order of effects."""
        return None if self.done is None else int(self.done.header["n"])

    @property
    def changes_state(self) -> bool:
        """Whether it has changed the run's state."""
        is_success = self.done is not None and "failure" not in self.done.header
        return is_success and self.kind in _CHANGING


@dataclass
class _Segment:
    unfinished: set[str] = field(default_factory=set[str])
    last_ordinal: int = 0
    results: set[str] = field(default_factory=set[str])


class RunJournal:
    """The log of one run with what must be known to shorten it; for several threads."""

    def __init__(self, log: RunLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._segments: dict[int, _Segment] = {}
        self._homes: dict[str, int] = {}
        self.ordinal = 0
        self.next_seq = 1
        self.since_state_bytes = 0

    @staticmethod
    def open(log: RunLog) -> tuple[RunJournal, list[Accepted]]:
        """The journal of an earlier process, and the requests in it in the order they came."""
        journal = RunJournal(log)
        requests: dict[str, Accepted] = {}
        for entry in log.read():
            header = entry.header
            if header["t"] == "accepted":
                request = Accepted(
                    header["id"], header["seq"], header["digest"], entry, header["at"]
                )
                requests[request.request_id] = request
                journal._note_accepted(request.request_id, entry.segment)
            elif header["t"] == "done":
                known = requests.get(header["id"])
                if known is not None and known.done is None:
                    requests[known.request_id] = Accepted(
                        known.request_id,
                        known.seq_id,
                        known.digest,
                        known.entry,
                        known.accepted_at,
                        entry,
                    )
                journal._note_done(header["id"], header["seq"], int(header["n"]), entry.segment)
            else:
                journal.ordinal = max(journal.ordinal, int(header["n"]))
                journal.next_seq = max(journal.next_seq, int(header["next_seq"]))
        return journal, list(requests.values())

    @property
    def is_long(self) -> bool:
        """Whether there is something to shorten."""
        return len(self._segments) > 1 or self._log.size_bytes >= _SEGMENT_BYTES

    def accept(
        self, request_id: str, seq_id: int | None, digest: str, request: LoggedRequest
    ) -> None:
        """Log a request; raises StorageError when the disk refuses it."""
        header = {
            "t": "accepted",
            "id": request_id,
            "seq": seq_id,
            "digest": digest,
            "at": time.time(),
            "kind": request.kind,
            "params": dict(request.params),
        }
        with self._lock:
            self._note_accepted(request_id, self._log.append(header, request.body))
            self.since_state_bytes += len(request.body)

    def done(self, request_id: str, seq_id: int | None, outcome: Outcome) -> None:
        """Log how a request ended. A full disk only delays this: it would be done again."""
        fields, blob = write_outcome(outcome)
        with self._lock:
            number = self.ordinal + 1
            header = {"t": "done", "id": request_id, "seq": seq_id, "n": number, **fields}
            self._note_done(request_id, seq_id, number, self._log.append_later(header, blob))

    def request(self, accepted: Accepted) -> LoggedRequest:
        """The request itself, read from disk."""
        header = accepted.entry.header
        return LoggedRequest(header["kind"], header["params"], self._log.blob(accepted.entry))

    def outcome(self, accepted: Accepted) -> Outcome | None:
        """How a request ended, read from disk."""
        if accepted.done is None:
            return None
        return read_outcome(accepted.done.header, self._log.blob(accepted.done))

    def tidy(self, saved_ordinal: int, is_needed: Callable[[str], bool]) -> None:
        """Delete segments that neither recovery nor a repeated answer needs any more."""
        with self._lock:
            if self._log.size_bytes >= _SEGMENT_BYTES:
                self._log.begin_segment({"t": "mark", "n": self.ordinal, "next_seq": self.next_seq})
            old = [number for number in self._segments if number < self._log.segment]
            for number in old:
                segment = self._segments[number]
                is_saved = not segment.unfinished and segment.last_ordinal <= saved_ordinal
                if is_saved and not any(is_needed(name) for name in segment.results):
                    self._log.drop(number)
                    del self._segments[number]

    def sync(self) -> None:
        """Bring the log to the disk."""
        self._log.sync()

    def close(self) -> None:
        """Stop writing; the log stays."""
        self._log.sync()
        self._log.close()

    def delete(self) -> None:
        """Forget the run."""
        self._log.delete()

    def _note_accepted(self, request_id: str, segment: int) -> None:
        self._homes[request_id] = segment
        self._segments.setdefault(segment, _Segment()).unfinished.add(request_id)

    def _note_done(self, request_id: str, seq_id: int | None, number: int, segment: int) -> None:
        self.ordinal = max(self.ordinal, number)
        if seq_id is not None:
            self.next_seq = max(self.next_seq, seq_id + 1)
        # A segment is kept for the order that it tells as well as for what was asked there.
        mine = self._segments.setdefault(segment, _Segment())
        mine.results.add(request_id)
        mine.last_ordinal = max(mine.last_ordinal, number)
        home = self._segments.get(self._homes.pop(request_id, -1))
        if home is not None:
            home.unfinished.discard(request_id)
            home.last_ordinal = max(home.last_ordinal, number)


def is_failure(outcome: Outcome | None) -> bool:
    """Whether a request has failed."""
    return isinstance(outcome, Failure)
