"""How often one address may ask, and what every answer says to a browser."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST_CLIENTS = 20_000
_READS = ("GET", "HEAD")
# No script runs on a page of the marketplace, its own or anyone's, and nothing is fetched from
# elsewhere.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Buckets:
    """A token bucket for each client: `per_minute` at once, then as many a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size, self._rate, self._clock = float(per_minute), per_minute / 60.0, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, client: str) -> float:
        """0 and one token less, or the seconds until there is one."""
        now = self._clock()
        with self._lock:
            tokens, before = self._left.pop(client, (self._size, now))
            tokens = min(self._size, tokens + (now - before) * self._rate)
            is_free = tokens >= 1.0
            self._left[client] = (tokens - 1.0 if is_free else tokens, now)
            # Who was longest away has the fullest bucket, so forgetting them gives least away.
            while len(self._left) > _MOST_CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if is_free else (1.0 - tokens) / self._rate


class Guard:
    """ASGI middleware: refuses who asks too often, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, reads: Buckets, writes: Buckets) -> None:
        self._app, self._reads, self._writes = app, reads, writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on unless its client has to wait."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        buckets = self._reads if scope["method"] in _READS else self._writes
        client = _network(scope["client"][0]) if scope.get("client") else ""
        wait_s = 0.0 if scope["path"] == "/healthz" else buckets.wait_s(client)
        if wait_s > 0:
            answer = JSONResponse(
                {
                    "error": f"too many requests: come again in {wait_s:.0f} s",
                    "category": "too_many",
                },
                status_code=429,
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
            await answer(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


def _network(address: str) -> str:
    """Who an address is: itself, or its /64 network, of which an IPv6 client has all."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
