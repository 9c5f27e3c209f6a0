"""The FastAPI application of one marketplace."""

from __future__ import annotations

import logging
import uuid

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tensafe.errors import TensafeError
from tensafe.marketplace.service.api_routes import (
    MAX_BODY_BYTES,
    api_routes,
    problem,
    refusal_body,
)
from tensafe.marketplace.service.limits import Buckets, Guard
from tensafe.marketplace.service.market import Market
from tensafe.marketplace.service.page_routes import error_page, page_routes
from tensafe.marketplace.service.refusals import RefusedError
from tinker_engine.errors import EngineError

_log = logging.getLogger(__name__)
API = "/api/v1"


def create_app(market: Market) -> FastAPI:
    """The application that serves one marketplace."""
    app = FastAPI(
        title="tensafe marketplace",
        docs_url=None,
        redoc_url=None,
        # Routes have limits of their own. This one holds for what no route has taken on yet, such
        # as a request that comes too often: it must not hide that answer behind one about size.
        max_body_size=max(MAX_BODY_BYTES, market.config.max_package_bytes),
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    _answer_errors(app, market)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        market.catalogue.check()
        return {"status": "ok"}

    app.include_router(api_routes(market), prefix=API)
    app.include_router(page_routes(market))
    app.add_middleware(
        Guard,
        reads=Buckets(market.config.reads_per_minute),
        writes=Buckets(market.config.writes_per_minute),
    )
    return app


def _answer_errors(app: FastAPI, market: Market) -> None:
    def answer(request: Request, status: int, body: dict[str, object]) -> Response:
        if request.url.path.startswith(f"{API}/") or request.method != "GET":
            return JSONResponse(body, status_code=status)
        return error_page(market, status, str(body["error"]))

    async def on_refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return answer(request, error.status, refusal_body(error))

    async def on_bad_body(request: Request, error: Exception) -> Response:
        return answer(request, 400, {"error": problem(error), "category": "bad_request"})

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = {404: "there is nothing at this address"}.get(error.status_code, error.detail)
        return answer(request, error.status_code, {"error": told, "category": "bad_request"})

    async def on_disconnect(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)

    async def on_failure(request: Request, error: Exception) -> Response:
        number = uuid.uuid4().hex[:8]
        _log.error("a request failed (%s)", number, exc_info=error)
        told = f"internal error {number}; the marketplace's log has more"
        return answer(request, 500, {"error": told, "category": "failure"})

    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(RefusedError, on_refusal)
    app.add_exception_handler(RequestValidationError, on_bad_body)
    app.add_exception_handler(ValidationError, on_bad_body)
    app.add_exception_handler(HTTPException, on_http)
    # What is left of the expected errors says too much about this machine to be shown.
    app.add_exception_handler(TensafeError, on_failure)
    app.add_exception_handler(EngineError, on_failure)
    app.add_exception_handler(Exception, on_failure)
