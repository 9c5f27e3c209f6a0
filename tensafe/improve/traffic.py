"""The folder in which live exchanges wait: redacted before they are written, its owner's alone.

    traffic.jsonl    one interaction a line, as `read_log` reads it
    feedback.jsonl   one opinion a line, by the interaction's id

Both files only grow. A line that a kill cut short is passed over, and the next one is whole.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensafe.errors import DataError, UsageError
from tensafe.files import PRIVATE_FILE, private_folder
from tensafe.improve.interactions import (
    Feedback,
    Interaction,
    feedback_json,
    feedback_of,
    interaction_json,
    read_interaction,
)
from tensafe.improve.redaction import redacted, redacted_feedback

TRAFFIC_FILE, FEEDBACK_FILE = "traffic.jsonl", "feedback.jsonl"
MOST_FEEDBACK_BYTES = 128 << 10


class TooMuchFeedbackError(UsageError):
    """All that may be said of one exchange was said; the last opinion that was stored stands."""


class TrafficStore:
    """Reads and writes that folder; methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self._lock = threading.Lock()
        self._known = {one.id for one in self.interactions()}
        # How long all that was said of an exchange is: who knows its id may say it for ever.
        self._said: Counter[str] = Counter()
        for record in self._records(FEEDBACK_FILE):
            self._said[str(record["id"])] += len(_line(record))

    def __len__(self) -> int:
        return len(self._known)

    def record(self, one: Interaction) -> None:
        """Store an exchange without its personal data."""
        kept = interaction_json(redacted(one))
        with self._lock:
            self._append(TRAFFIC_FILE, kept)
            self._known.add(one.id)

    def add_feedback(self, interaction_id: str, feedback: Feedback) -> None:
        """Store an opinion without its personal data.

        Raises:
            TooMuchFeedbackError: what was said of it fills the space that one exchange has.
            UsageError: no such exchange is stored, or nothing was said.
        """
        if interaction_id not in self._known:
            raise UsageError(f"there is no stored exchange {interaction_id!r}")
        if feedback.is_empty:
            raise UsageError("no feedback: give thumbs, rating, score, edit or correction")
        record = {"id": interaction_id, **feedback_json(redacted_feedback(feedback))}
        size = len(_line(record))
        with self._lock:
            if self._said[interaction_id] + size > MOST_FEEDBACK_BYTES:
                raise TooMuchFeedbackError(
                    f"feedback on one exchange may have {MOST_FEEDBACK_BYTES} bytes in all; what "
                    "was stored before stands"
                )
            self._append(FEEDBACK_FILE, record)
            self._said[interaction_id] += size

    def interactions(self) -> list[Interaction]:
        """All exchanges in their order, each with all that was said of it since."""
        opinions: dict[str, Feedback] = {}
        for record in self._records(FEEDBACK_FILE):
            said = feedback_of(record)
            opinions[str(record["id"])] = said.over(opinions.get(str(record["id"]), Feedback()))
        found: list[Interaction] = []
        for record in self._records(TRAFFIC_FILE):
            one = read_interaction(record)
            said = opinions.get(one.id, Feedback()).over(one.feedback)
            found.append(Interaction(one.id, one.messages, said, one.adapter_digest))
        return found

    def _records(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.folder / name
        if not path.exists():
            return
        # Bytes: a line may be cut short inside a character.
        lines = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record: object = json.loads(line)
            except ValueError:
                # What a kill cut short; every line is begun with a newline of its own.
                continue
            if not isinstance(record, dict):
                raise DataError(f"{path}: line {number}: a JSON object was expected")
            yield record

    def _append(self, name: str, record: dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.folder / name, flags, PRIVATE_FILE)
        try:
            os.write(descriptor, _line(record))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _line(record: dict[str, Any]) -> bytes:
    return ("\n" + json.dumps(record, ensure_ascii=False)).encode("utf-8")
