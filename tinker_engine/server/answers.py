"""Answers: JSON, typed errors, and what a request's headers mean."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import zstandard
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinker_engine.errors import EngineError, NotFoundError, RequestError
from tinker_engine.protocol.openai_errors import is_openai_path, openai_error
from tinker_engine.protocol.openai_requests import parameter_error
from tinker_engine.protocol.training import first_problem

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)


class BodyTooLargeError(RequestError):
    """The request body is larger than the server takes; split the request."""

    status = 413


class JsonResponse(Response):
    """JSON written by pydantic's serializer; NaN and infinity become null, as JSON has neither."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Serialize the content."""
        return to_json(content, inf_nan_mode="null")


class StrictRoute(APIRoute):
    """A route that reads JSON bodies as `parse` does: real Unicode, no NaN."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, given requests that read their JSON strictly."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


class FailureGuard:
    """ASGI middleware that answers unexpected exceptions, typed, without dropping the connection.

    The log has the traceback under the number that the client is given.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; what it raises is answered unless an answer has begun."""
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        # The edge of the server: whatever a route raises must end in a typed answer.
        except Exception:
            if scope["type"] != "http" or has_begun:
                raise
            number = uuid.uuid4().hex[:8]
            # Not the path, which may hold names that users chose; the request's line has the route.
            logger.exception("a request failed (%s)", number)
            failure = EngineError(f"internal error {number}; the server's log has the traceback")
            await error_response(failure, scope["path"])(scope, receive, send)


def error_response(error: EngineError, path: str = "") -> Response:
    """The answer for an engine error, in the layout that clients of the path expect."""
    wait_s = error.retry_after_s
    headers = None if wait_s is None else {"Retry-After": str(wait_s)}
    if is_openai_path(path):
        return JsonResponse(openai_error(error), status_code=error.status, headers=headers)
    body = {"error": str(error), "detail": str(error), "category": error.category}
    return JsonResponse(body, status_code=error.status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Turn every expected exception into a typed answer; FailureGuard takes the others."""

    async def on_engine_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, EngineError)
        return error_response(error, request.url.path)

    async def on_bad_body(request: Request, error: Exception) -> Response:
        path = request.url.path
        if isinstance(error, ValidationError):
            if is_openai_path(path):
                return error_response(parameter_error(error), path)
            return error_response(RequestError(f"bad request: {first_problem(error)}"))
        assert isinstance(error, RequestValidationError)
        problem: Mapping[str, Any] = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        reason = problem.get("ctx", {}).get("error")
        told = f"{problem['msg']} ({reason})" if isinstance(reason, str) else problem["msg"]
        return error_response(RequestError(f"bad request: {place}: {told}"), path)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        if error.status_code == NotFoundError.status:
            return error_response(
                NotFoundError(f"{request.method} {path} is not served by this engine"), path
            )
        body: dict[str, Any] = (
            openai_error(RequestError(error.detail))
            if is_openai_path(path)
            else {"error": error.detail, "detail": error.detail, "category": "user"}
        )
        return JsonResponse(body, status_code=error.status_code, headers=error.headers)

    async def on_disconnect(_request: Request, _error: Exception) -> Response:
        # Nobody is left to read this; without it the log would hold a traceback.
        return Response(status_code=400)

    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(EngineError, on_engine_error)
    app.add_exception_handler(ValidationError, on_bad_body)
    app.add_exception_handler(RequestValidationError, on_bad_body)
    app.add_exception_handler(HTTPException, on_http_error)


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, decompressed if it is zstd.

    Raises BodyTooLargeError as soon as more than `limit` bytes are there, and RequestError for a
    broken or unknown encoding.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    body = b"".join(parts)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return body
    if encoding != "zstd":
        raise RequestError(f"content-encoding {encoding!r} is not understood; use zstd or none")
    return _unzstd(body, limit)


def payload_digest(kind: str, model: BaseModel, *, without: frozenset[str] = frozenset()) -> str:
    """Digest of a parsed request, the same for every way of writing it down."""
    content = model.model_dump_json(exclude=set(without))
    return hashlib.sha256(f"{kind}\0{content}".encode()).hexdigest()


def retry_key(request: Request) -> str:
    """The idempotency key of a request, or a fresh one."""
    return request.headers.get("x-idempotency-key") or uuid.uuid4().hex


async def parse(request: Request, model: type[M], limit: int) -> M:
    """The JSON body as a model; the handlers above answer what doesn't fit."""
    return model.model_validate_json(await read_body(request, limit) or b"{}")


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the request body is larger than {limit} bytes; send fewer examples per request"
    )


def _unzstd(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(body) as reader:
            while part := reader.read(1 << 20):
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except zstandard.ZstdError as error:
        raise RequestError("the body is not valid zstd") from error
    return b"".join(parts)
