"""Copies of checkpoints: files and records under a run of their own, which nothing can train."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

from tinker_engine.errors import ConflictingRetryError, NotFoundError
from tinker_engine.protocol.paths import CheckpointPath, check_run_id
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.store import RunRecord, Store

K = TypeVar("K")
V = TypeVar("V")


def copy_checkpoint(
    store: Store,
    folders: CheckpointFolders,
    engine_id: str,
    source: CheckpointPath,
    run_id: str,
    ttl_s: int | None,
) -> CheckpointPath:
    """Copy `source` into the new run `run_id`; gives the copy's path.

    The caller holds a lock over copies. Raises NotFoundError for an unknown source and
    ConflictingRetryError when the run exists and is not a copy of it.
    """
    record = store.checkpoint(source)
    target = CheckpointPath(check_run_id(run_id), source.kind, source.name)
    known = _found(store.run, run_id)
    if known is not None and known.parent_path != str(source):
        raise ConflictingRetryError(
            f"run {run_id!r} exists already and is not a copy of {source}; use another place"
        )
    if known is not None and _found(store.checkpoint, target) is not None:
        return target
    # A copy that died half-way is made again.
    facts = folders.copy(source, target)
    now = time.time()
    if known is None:
        store.add_run(_run_of_copy(store.run(source.run_id), run_id, source, engine_id, now))
    store.put_checkpoint(
        dataclasses.replace(
            record,
            path=target,
            digest=facts.digest,
            created_at=now,
            expires_at=None if ttl_s is None else now + ttl_s,
            is_public=False,
        )
    )
    return target


def _run_of_copy(
    origin: RunRecord, run_id: str, source: CheckpointPath, engine_id: str, now: float
) -> RunRecord:
    session_id, is_placed, _ = run_id.partition(":train:")
    return dataclasses.replace(
        origin,
        id=run_id,
        session_id=session_id if is_placed else origin.session_id,
        parent_path=str(source),
        engine_id=engine_id,
        created_at=now,
        last_request_at=now,
        unloaded_at=now,
    )


def _found(look_up: Callable[[K], V], key: K) -> V | None:
    try:
        return look_up(key)
    except NotFoundError:
        return None
