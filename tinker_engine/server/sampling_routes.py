"""Sampling sessions and sampling requests; `asample` is the busiest route of all."""

from __future__ import annotations

import uuid
from typing import Any

from fastapi import APIRouter, Request, Response

from tinker_engine.errors import RequestError
from tinker_engine.protocol.requests import (
    CancelBody,
    CreateSamplingSessionBody,
    JoinSamplingSessionBody,
    SampleBody,
)
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.names import findable_name
from tinker_engine.runtime.sampling_sessions import Sampler
from tinker_engine.server.answers import JsonResponse, StrictRoute, parse, payload_digest


def sampling_routes(engine: Engine) -> APIRouter:
    """Routes that concern sampling."""
    router = APIRouter(route_class=StrictRoute)
    limit = engine.config.max_body_bytes

    # Not a plain parameter: FastAPI's own parsing costs more than the rest of this route.
    @router.post("/asample")
    async def asample(request: Request) -> Response:
        body = await parse(request, SampleBody, limit)
        sampler = _sampler(engine, body)
        key = request.headers.get("x-idempotency-key") or uuid.uuid4().hex
        request_id = engine.samplers.submit(
            engine.queue, sampler, body, payload_digest("sample", body), key
        )
        sequences: list[Any] = [f"{request_id}:{i}" for i in range(body.num_samples)]
        return JsonResponse({"request_id": request_id, "sample_sequence_ids": sequences})

    @router.post("/create_sampling_session")
    def create_sampling_session(body: CreateSamplingSessionBody) -> Response:
        engine.touch_session(body.session_id)
        sampler = engine.samplers.create(
            f"{body.session_id}:sample:{body.sampling_session_seq_id}",
            body.session_id,
            base_model=body.base_model,
            model_path=body.model_path,
        )
        return JsonResponse({"type": "create_sampling_session", "sampling_session_id": sampler.id})

    @router.post("/join_sampling_session")
    def join_sampling_session(body: JoinSamplingSessionBody) -> Response:
        number = engine.samplers.join(body.sampling_session_id)
        return JsonResponse({"type": "join_sampling_session", "client_counter": number})

    @router.get("/samplers/{sampler_id}")
    def get_sampler(sampler_id: str) -> Response:
        row = engine.store.sampler(sampler_id)
        return JsonResponse(
            {
                "sampler_id": row.id,
                "base_model": findable_name(engine.base_info),
                "model_path": row.model_path,
            }
        )

    @router.post("/cancel_future")
    async def cancel_future(body: CancelBody) -> Response:
        if engine.is_request_mine(body.request_id):
            engine.samplers.cancel(body.request_id)
        return JsonResponse({})

    return router


def _sampler(engine: Engine, body: SampleBody) -> Sampler:
    if body.sampling_session_id is not None:
        if body.seq_id is None:
            raise RequestError("seq_id is missing beside sampling_session_id")
        return engine.samplers.get(body.sampling_session_id)
    raise RequestError(
        "sampling_session_id is missing; open one with create_sampling_session "
        "(model_path or base_model)"
    )
