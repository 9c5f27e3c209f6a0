"""One checkpoint: deleting, expiry, publishing, copying, and downloading its adapter.

What is downloaded are the PEFT files alone, never the optimizer or the ledger of a run.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import IO

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse, StreamingResponse

from tinker_engine.errors import NotFoundError, RequestError
from tinker_engine.protocol.paths import CheckpointPath, checkpoint_path, parse_path
from tinker_engine.protocol.requests import CopyWeightsBody, TtlBody
from tinker_engine.runtime.callers import scoped
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.answers import JsonResponse, StrictRoute, retry_key
from tinker_engine.server.extension_routes import ADAPTER_FILES
from tinker_engine.server.links import LinkSigner
from tinker_engine.server.training_routes import check_ttl
from tinker_engine.storage.sealing import SUFFIX as SEALED

_PLACE = "/training_runs/{run_id}/checkpoints/{kind}/{name}"
_BLOCK = 1 << 20


def checkpoint_routes(engine: Engine, links: LinkSigner) -> APIRouter:
    """Routes that concern one checkpoint."""
    router = APIRouter(route_class=StrictRoute)

    @router.delete(_PLACE)
    def delete_checkpoint(run_id: str, kind: str, name: str) -> Response:
        engine.delete_checkpoint(checkpoint_path(run_id, f"{kind}/{name}"))
        return JsonResponse({})

    @router.put(_PLACE + "/ttl")
    def set_ttl(run_id: str, kind: str, name: str, body: TtlBody) -> Response:
        path = checkpoint_path(run_id, f"{kind}/{name}")
        engine.store.checkpoint(path)
        ttl_s = check_ttl(body.ttl_seconds)
        engine.store.set_expiry(path, None if ttl_s is None else time.time() + ttl_s)
        return JsonResponse({})

    @router.post(_PLACE + "/publish")
    def publish(run_id: str, kind: str, name: str) -> Response:
        return _set_public(engine, checkpoint_path(run_id, f"{kind}/{name}"), is_public=True)

    @router.delete(_PLACE + "/publish")
    def unpublish(run_id: str, kind: str, name: str) -> Response:
        return _set_public(engine, checkpoint_path(run_id, f"{kind}/{name}"), is_public=False)

    @router.post("/copy_weights")
    def copy_weights(body: CopyWeightsBody, request: Request) -> Response:
        source = parse_path(body.source_path)
        run_id = _run_of_copy(engine, body, retry_key(request))
        copy = engine.copy_checkpoint(source, run_id, check_ttl(body.ttl_seconds))
        return JsonResponse({"tinker_path": str(copy)})

    @router.get(_PLACE + "/archive")
    def archive(run_id: str, kind: str, name: str, request: Request) -> Response:
        path = checkpoint_path(run_id, f"{kind}/{name}")
        _adapter_files(engine, path)
        url, expires = links.link(str(request.base_url), f"archives/{run_id}/{kind}/{name}")
        headers = {"Location": url, "Expires": formatdate(expires, usegmt=True)}
        body = {"url": url, "expires": datetime.fromtimestamp(expires, UTC).isoformat()}
        return JsonResponse(body, status_code=302, headers=headers)

    @router.get(_PLACE + "/external_weights_urls")
    def external_weights_urls(run_id: str, kind: str, name: str, request: Request) -> Response:
        path = checkpoint_path(run_id, f"{kind}/{name}")
        base_url = str(request.base_url)
        found = {
            file.name: links.link(base_url, f"files/{run_id}/{kind}/{name}/{file.name}")
            for file in _adapter_files(engine, path)
        }
        expires = min(expires for _, expires in found.values())
        return JsonResponse(
            {
                "urls": {file: url for file, (url, _) in found.items()},
                "expires": datetime.fromtimestamp(expires, UTC).isoformat(),
            }
        )

    @router.get("/links/archives/{run_id}/{kind}/{name}")
    def linked_archive(run_id: str, kind: str, name: str) -> Response:
        files = _adapter_files(engine, checkpoint_path(run_id, f"{kind}/{name}"))
        return StreamingResponse(_tar(files), media_type="application/x-tar")

    @router.get("/links/files/{run_id}/{kind}/{name}/{file}")
    def linked_file(run_id: str, kind: str, name: str, file: str) -> Response:
        files = _adapter_files(engine, checkpoint_path(run_id, f"{kind}/{name}"))
        for found in files:
            if found.name == file:
                return FileResponse(found, media_type="application/octet-stream")
        raise NotFoundError(f"the checkpoint has no file {file!r}")

    return router


def _set_public(engine: Engine, path: CheckpointPath, *, is_public: bool) -> Response:
    """Repeating it is harmless; a 409, as hosted Tinker answers, makes SDKs retry for minutes."""
    engine.store.checkpoint(path)
    engine.store.set_public(path, is_public=is_public)
    return JsonResponse({})


def _run_of_copy(engine: Engine, body: CopyWeightsBody, key: str) -> str:
    """The run that a copy belongs to: the same for a retry, never one that can be trained."""
    if body.session_id is not None and body.model_seq_id is not None:
        engine.touch_session(body.session_id)
        return f"{body.session_id}:train:{body.model_seq_id}"
    if body.destination_project_id is None:
        raise RequestError(
            "give destination_project_id (any name: this server keeps one project), or session_id "
            "and model_seq_id"
        )
    return "copy-" + hashlib.sha256(scoped(key).encode()).hexdigest()[:32]


def _adapter_files(engine: Engine, path: CheckpointPath) -> list[Path]:
    """The PEFT files of a checkpoint, sealed or not, after its digests were checked.

    Raises NotFoundError when there are none.
    """
    folder = engine.runs.open_checkpoint(path)
    names = [*ADAPTER_FILES, *(name + SEALED for name in ADAPTER_FILES)]
    files = [folder / name for name in names if (folder / name).is_file()]
    if not files:
        raise NotFoundError(f"{path} holds no adapter files")
    return files


def _tar(files: list[Path]) -> Iterator[bytes]:
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for file in files:
                archive.add(file, arcname=file.name)
        stream.seek(0)
        yield from _blocks(stream)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block
