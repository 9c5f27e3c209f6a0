"""Adapters that come from outside: a PEFT adapter becomes a checkpoint to sample or start from.

An uploaded adapter is content: the same two files get the same `tinker://` path. It is checked
against the base before it is stored, and expires, because its owner has the files.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from pathlib import Path

from tinker_engine.protocol.paths import UPLOAD_PREFIX, CheckpointPath
from tinker_engine.runtime.backend import Backend
from tinker_engine.runtime.callers import scoped
from tinker_engine.runtime.records import RunSpec
from tinker_engine.storage.checkpoints import CheckpointFolders
from tinker_engine.storage.store import CheckpointRecord, RunRecord, Store

UPLOAD_TTL_S = 24 * 3600.0
_NAME = "uploaded"


def store_adapter(
    config: bytes,
    weights: bytes,
    *,
    backend: Backend,
    store: Store,
    folders: CheckpointFolders,
    session_id: str,
    engine_id: str,
) -> str:
    """Check and store an adapter; gives its `tinker://` path. Called on the compute thread.

    Raises CheckpointError for anything but a plain LoRA adapter that fits the base.
    """
    digest = hashlib.sha256(hashlib.sha256(config).digest() + hashlib.sha256(weights).digest())
    tag = hashlib.sha256(scoped(digest.hexdigest()).encode()).hexdigest()
    path = CheckpointPath(f"{UPLOAD_PREFIX}{tag[:32]}", "sampler_weights", _NAME)
    spec = _checked(config, weights, backend, path.run_id)
    if not store.has_run(path.run_id):
        now = time.time()
        store.add_run(
            RunRecord(
                id=path.run_id,
                session_id=session_id,
                model_seq_id=0,
                base_model=backend.base.name,
                base_digest=backend.base.digest,
                spec=spec,
                user_metadata={"uploaded": True},
                parent_path=None,
                engine_id=engine_id,
                created_at=now,
                last_request_at=now,
                unloaded_at=now,
            )
        )

    def fill(folder: Path) -> None:
        _write(folder, config, weights)

    facts = folders.write(path, fill, overwrite=True)
    created = time.time()
    store.put_checkpoint(
        CheckpointRecord(
            path=path,
            digest=facts.digest,
            size_bytes=facts.size_bytes,
            created_at=created,
            user_metadata=None,
            expires_at=created + UPLOAD_TTL_S,
        )
    )
    return str(path)


def _checked(config: bytes, weights: bytes, backend: Backend, name: str) -> RunSpec:
    """Load the adapter once as a sampler would be, which is the only test that counts."""
    from tinker_engine.models.adapter_files import read_adapter

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(folder, config, weights)
        declared = read_adapter(folder).config
        backend.create_sampler(name, folder)
        backend.drop_sampler(name)
    return RunSpec(declared.rank, declared.alpha, declared.targets, seed=0)


def _write(folder: Path, config: bytes, weights: bytes) -> None:
    (folder / "adapter_config.json").write_bytes(config)
    (folder / "adapter_model.safetensors").write_bytes(weights)
