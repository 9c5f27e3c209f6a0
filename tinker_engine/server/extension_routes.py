"""What this engine offers beyond the Tinker API, under `/api/v1/engine`."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from tinker_engine.errors import NotFoundError, RequestError
from tinker_engine.protocol.paths import check_run_id, checkpoint_path
from tinker_engine.runtime.engine import Engine
from tinker_engine.server.answers import JsonResponse
from tinker_engine.server.service_routes import CAPABILITIES
from tinker_engine.storage.checkpoints import DIGESTS_FILE

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# The upload's body is the safetensors file; its small configuration travels beside it in base64.
CONFIG_HEADER = "X-Adapter-Config"


def extension_routes(engine: Engine) -> APIRouter:
    """Base identity, privacy records, and the files of a checkpoint's adapter."""
    router = APIRouter(prefix="/engine")

    @router.get("/capabilities")
    async def capabilities() -> Response:
        return JsonResponse(CAPABILITIES)

    @router.get("/base")
    async def base() -> Response:
        return JsonResponse(dataclasses.asdict(engine.base_info))

    @router.get("/base/shape")
    async def base_shape() -> Response:
        return JsonResponse(dataclasses.asdict(engine.base_shape))

    @router.get("/runs/{run_id}/privacy")
    def privacy(run_id: str) -> Response:
        return JsonResponse(dataclasses.asdict(engine.privacy(check_run_id(run_id))))

    @router.get("/status")
    def status() -> Response:
        return JsonResponse(engine.status())

    @router.get("/runs/{run_id}/checkpoints/{kind}/{name}/files")
    def files(run_id: str, kind: str, name: str) -> Response:
        folder = engine.runs.open_checkpoint(checkpoint_path(run_id, f"{kind}/{name}"))
        listed: dict[str, Any] = json.loads((folder / DIGESTS_FILE).read_text("utf-8"))["files"]
        adapter = {file: listed[file] for file in ADAPTER_FILES if file in listed}
        return JsonResponse({"files": adapter})

    @router.get("/runs/{run_id}/checkpoints/{kind}/{name}/files/{file}")
    def file(run_id: str, kind: str, name: str, file: str) -> Response:
        path = checkpoint_path(run_id, f"{kind}/{name}")
        engine.store.checkpoint(path)
        source = engine.folders.folder(path) / file
        if file not in ADAPTER_FILES or not source.is_file():
            raise NotFoundError(f"{path} has no file {file!r}; it has {', '.join(ADAPTER_FILES)}")
        return FileResponse(source, media_type="application/octet-stream")

    @router.post("/adapters")
    async def upload(request: Request) -> Response:
        try:
            config = base64.b64decode(request.headers.get(CONFIG_HEADER, ""), validate=True)
        except binascii.Error as error:
            raise RequestError(f"{CONFIG_HEADER} is not base64: {error}") from error
        if not config:
            raise RequestError(f"{CONFIG_HEADER} is missing: it holds adapter_config.json, base64")
        weights = await request.body()
        path = await run_in_threadpool(engine.upload_adapter, config, weights)
        return JsonResponse({"path": path})

    return router
