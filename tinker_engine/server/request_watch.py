"""Each request's line in the log, and its count and time in the metrics.

What is written down is the route's pattern, never the path or the body: names of checkpoints and
whatever else a user chose stay out.
"""

from __future__ import annotations

import logging
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinker_engine.server.auth import KEY_ID
from tinker_engine.server.logs import REQUESTS
from tinker_engine.server.metrics import Metrics

logger = logging.getLogger(REQUESTS)
# A program with an embedded engine and a log of its own did not ask for a line per request.
logger.setLevel(logging.WARNING)

REQUEST_ID_HEADER = b"x-request-id"
UNKNOWN_ROUTE = "unknown"
_PREFIXES = ("/api/v1", "/v1")
# Clients ask these all the time; when all is well they are worth a line only to a debugger.
_FREQUENT = frozenset(
    f"/api/v1/{name}" for name in ("healthz", "session_heartbeat", "retrieve_future")
) | {"/api/v1/retrieve_futures", "/metrics"}


class RequestWatch:
    """ASGI middleware that gives each request an id and notes how it went."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and look at the clock."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex[:16]
        # Until an answer begins: a client that leaves before gets none.
        status = 499
        started_at = time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (REQUEST_ID_HEADER, request_id.encode()),
                ]
            await send(message)

        with self._metrics.in_progress.track_inprogress():
            try:
                await self._app(scope, receive, watched)
            finally:
                self._note(scope, request_id, status, time.perf_counter() - started_at)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = _pattern(scope)
        method = scope["method"] if route != UNKNOWN_ROUTE else "any"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        is_dull = (status < 400 and route in _FREQUENT) or status == 408
        level = logging.DEBUG if is_dull else logging.INFO
        if logger.isEnabledFor(level):
            fields = {
                "request_id": request_id,
                "key": scope.get(KEY_ID),
                "method": method,
                "route": route,
                "status": status,
                "seconds": round(seconds, 4),
            }
            logger.log(level, "request", extra=fields)


def _pattern(scope: Scope) -> str:
    """The pattern of the route that answered, with the prefix it is served under."""
    pattern = getattr(scope.get("route"), "path", None)
    if pattern is None:
        return UNKNOWN_ROUTE
    for prefix in _PREFIXES:
        if scope["path"].startswith(f"{prefix}/") and not pattern.startswith(f"{prefix}/"):
            return prefix + pattern
    return pattern
