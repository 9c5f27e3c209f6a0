"""Who may come in: an API key in `X-API-Key` or `Authorization: Bearer`, compared in constant time.

Only `healthz` and signed download links answer without a key. A refused request is answered before
its body is read.
"""

from __future__ import annotations

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from tinker_engine.errors import AuthenticationError
from tinker_engine.server.answers import error_response
from tinker_engine.server.links import PREFIX as LINKS
from tinker_engine.server.links import LinkSigner

OPEN_PATHS = frozenset({"/api/v1/healthz"})


class KeyGuard:
    """ASGI middleware that lets requests with a known key through."""

    def __init__(self, app: ASGIApp, keys: tuple[str, ...], links: LinkSigner) -> None:
        if not keys:
            raise ValueError("a server needs at least one API key")
        self._app = app
        self._links = links
        self._keys = tuple(key.encode() for key in keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        is_link = scope["path"].startswith(LINKS)
        if is_link and self._links.is_valid(scope["path"], scope["query_string"]):
            await self._app(scope, receive, send)
            return
        error = AuthenticationError(
            "the link has expired or is not one of this server; ask for a new one"
            if is_link
            else "the API key is missing or unknown; send the server's key as X-API-Key or "
            "as a bearer token (SDKs take it from api_key, TINKER_API_KEY or OPENAI_API_KEY)"
        )
        await error_response(error, scope["path"])(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        given = b""
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                given = value
                break
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
        # Every key is compared, so that the time taken tells nothing about which one was close.
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        return any(matches)
