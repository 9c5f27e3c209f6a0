"""Health, capabilities, client configuration, sessions and telemetry."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tinker_engine.protocol.requests import (
    ClientConfigBody,
    CreateSessionBody,
    FinishSessionBody,
    SessionBody,
)
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.losses import LOSSES
from tinker_engine.server.answers import JsonResponse, StrictRoute, retry_key

# What an SDK may use of this server; a flag that is absent keeps the SDK's own default (off).
CLIENT_CONFIG: dict[str, Any] = {
    "pjwt_auth_enabled": False,
    "credential_default_source": "api_key",
    "parallel_fwdbwd_chunks": True,
    # On one machine compressing costs more than it saves.
    "proto_compress_fwdbwd": False,
    "sample_dispatch_bytes_semaphore_size": 64 * 1024 * 1024,
    "inflight_response_bytes_semaphore_size": 64 * 1024 * 1024,
    "sample_max_concurrent_requests": 20_000,
    # One poll per sampling client instead of one held connection per request.
    "sample_use_retrieve_futures": True,
    "sample_join_sampling_session": True,
    "custom_loss_server_side": False,
    "use_pyqwest_transport": True,
}
DYNAMIC_CONFIG: dict[str, Any] = {
    "refresh_interval_sec": 300,
    "sample_cancel_enabled": True,
    "sample_cancel_max_batch_size": 64,
}
CAPABILITIES: dict[str, Any] = {
    "engine": "tinker_engine",
    "privacy": True,
    "adapter_download": True,
    "adapter_upload": True,
    "openai": True,
    "live_slots": True,
    "losses": list(LOSSES),
}


def service_routes(engine: Engine) -> APIRouter:
    """Routes that concern the server and its sessions."""
    router = APIRouter(route_class=StrictRoute)

    @router.get("/healthz")
    async def healthz() -> Response:
        return JsonResponse({"status": "ok"})

    @router.get("/get_server_capabilities")
    async def get_server_capabilities() -> Response:
        models = [
            {
                "model_name": name,
                "max_context_length": engine.base_info.max_context,
                "trainable": True,
                "sampleable": True,
            }
            for name in engine.base.names
        ]
        return JsonResponse({"supported_models": models, "extensions": CAPABILITIES})

    @router.post("/client/config")
    async def client_config(body: ClientConfigBody) -> Response:
        del body  # all supported SDK versions understand the same flags
        return JsonResponse(CLIENT_CONFIG)

    @router.post("/client/dynamic_config")
    async def client_dynamic_config(body: ClientConfigBody) -> Response:
        del body
        return JsonResponse(DYNAMIC_CONFIG)

    @router.post("/create_session")
    def create_session(body: CreateSessionBody, request: Request) -> Response:
        session_id = engine.create_session(
            sdk_version=body.sdk_version,
            display_name=body.display_name,
            user_metadata=body.user_metadata,
            retry_key=request.headers.get("x-idempotency-key") and retry_key(request),
        )
        return JsonResponse({"type": "create_session", "session_id": session_id})

    @router.post("/session_heartbeat")
    def session_heartbeat(body: SessionBody) -> Response:
        engine.touch_session(body.session_id)
        return JsonResponse({"type": "session_heartbeat"})

    @router.post("/sessions/{session_id}/finish")
    def finish_session(session_id: str, body: FinishSessionBody) -> Response:
        engine.finish_session(session_id, str(body.reason.get("type", "finished")))
        return JsonResponse({})

    @router.get("/sessions")
    def list_sessions(
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
        offset: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    ) -> Response:
        return JsonResponse({"sessions": engine.store.list_sessions(limit, offset)})

    @router.get("/sessions/{session_id}")
    def get_session(session_id: str) -> Response:
        row = engine.store.session(session_id)
        runs, samplers = engine.store.session_members(session_id)
        return JsonResponse(
            {
                "training_run_ids": runs,
                "sampler_ids": samplers,
                "user_metadata": row.user_metadata,
                "display_name": row.display_name,
            }
        )

    @router.post("/telemetry")
    async def telemetry(request: Request) -> Response:
        # Accepted so that SDKs stay quiet, and dropped unread: it may hold what users typed.
        async for _part in request.stream():
            pass
        return JsonResponse({"status": "accepted"})

    return router
