"""Names of records: ids that sort by time, digests of content, and normal forms of answers."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from typing import Any

from aragora.memory.records import Task

_TIME_BITS = 48


def new_id(at: float | None = None) -> str:
    """32 hex digits, the first 12 being milliseconds since the epoch: ids sort by time."""
    milliseconds = int((time.time() if at is None else at) * 1000) & ((1 << _TIME_BITS) - 1)
    return f"{milliseconds:012x}{secrets.token_hex(10)}"


def digest_of(value: Any) -> str:
    """Hex SHA-256 of a JSON value in sorted, compact form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_task(text: str, *, context: str = "", domain: str = "general", source: str = "") -> Task:
    """A task under the digest of what it says; the same words in the same domain are one task."""
    identity = digest_of({"text": text, "context": context, "domain": domain})
    return Task(identity, text, context, domain, source, time.time())


def subject_digest(name: str) -> str:
    """The id under which a person is kept: their name (an address, a number) is not stored."""
    return hashlib.sha256(b"aragora subject\0" + name.strip().casefold().encode()).hexdigest()


def answer_key(answer: str) -> str:
    """The normal form under which two answers are the same one."""
    from tensafe.evaluate.normalise import normalised

    return normalised(answer)
