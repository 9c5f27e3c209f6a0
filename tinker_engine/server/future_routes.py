"""Fetching results: long polls for one request, or for a sampling client's completions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from tinker_engine.errors import EngineError, NotFoundError
from tinker_engine.protocol.requests import RetrieveFutureBody, RetrieveFuturesBody
from tinker_engine.protocol.results import (
    PROTOBUF,
    loss_to_json,
    loss_to_proto,
    sample_to_json,
    sample_to_proto,
)
from tinker_engine.runtime.engine import Engine
from tinker_engine.runtime.futures import Dropped, Failure, Outcome, unknown_request
from tinker_engine.runtime.records import LossOutput, SampleResult
from tinker_engine.server.answers import JsonResponse, error_response, parse

# SDKs give up on a poll after 45 seconds.
LONG_POLL_S = 30.0
TRY_AGAIN_STATUS = 408
_SAMPLE_ID = ":sample:"


class GoneError(EngineError):
    """The result is not kept any more: fetched and dropped, or lost in a restart.

    Send the request again if it is still needed; SDKs do so for samples.
    """

    category = "user"
    status = 410


def future_routes(engine: Engine) -> APIRouter:
    """Routes that fetch results."""
    router = APIRouter()
    limit = engine.config.max_body_bytes

    @router.post("/retrieve_future")
    async def retrieve_future(request: Request) -> Response:
        body = await parse(request, RetrieveFutureBody, limit)
        if not engine.is_request_mine(body.request_id):
            raise unknown_request(body.request_id)
        try:
            future = await engine.futures.wait(body.request_id, LONG_POLL_S)
        except NotFoundError as error:
            if _SAMPLE_ID not in body.request_id:
                raise
            raise GoneError(
                "this sample is not kept any more: it was fetched before, or lost in a restart; "
                "send it again"
            ) from error
        if future is None or future.outcome is None:
            return _try_again(body.request_id)
        wants_proto = PROTOBUF in request.headers.get("accept", "")
        answer = _answer(future.outcome, wants_proto=wants_proto)
        engine.futures.mark_fetched(future)
        return answer

    @router.post("/retrieve_futures")
    async def retrieve_futures(request: Request) -> Response:
        body = await parse(request, RetrieveFuturesBody, limit)
        engine.futures.forget([i for i in body.retrieved_request_ids if engine.is_request_mine(i)])
        wait_s = LONG_POLL_S if body.timeout is None else min(body.timeout, LONG_POLL_S)
        target = body.target
        log = engine.samplers.log(target.sampling_session_id, target.cloned_sampler_id)
        completions, cursor = await log.after(body.prev_cursor, wait_s)
        return JsonResponse({"completions": [c.to_json() for c in completions], "cursor": cursor})

    return router


def _try_again(request_id: str) -> Response:
    # As an HTTP status: the SDK then polls on silently, whereas a 200 makes it log a warning.
    body = {"type": "try_again", "request_id": request_id, "queue_state": "active"}
    return JsonResponse(body, status_code=TRY_AGAIN_STATUS)


def _answer(outcome: Outcome, *, wants_proto: bool) -> Response:
    match outcome:
        case Failure():
            return JsonResponse({"error": outcome.message, "category": outcome.category})
        case Dropped():
            return error_response(GoneError("this result was fetched before and is not kept"))
        case LossOutput():
            if wants_proto:
                return Response(loss_to_proto(outcome), media_type=PROTOBUF)
            return JsonResponse(loss_to_json(outcome))
        case SampleResult():
            if wants_proto:
                return Response(sample_to_proto(outcome), media_type=PROTOBUF)
            return JsonResponse(sample_to_json(outcome))
        case dict():
            return JsonResponse(outcome)
