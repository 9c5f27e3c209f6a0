"""Who may come in: an API key in `X-API-Key` or `Authorization: Bearer`.

Only `healthz` and signed download links answer without a key. A refused request is answered before
its body is read; one that comes in is worked off on behalf of its key's owner.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from tinker_engine.errors import AuthenticationError
from tinker_engine.runtime.callers import acting_for
from tinker_engine.server.answers import error_response
from tinker_engine.server.keyring import Keyring
from tinker_engine.server.links import PREFIX as LINKS
from tinker_engine.server.links import LinkSigner

OPEN_PATHS = frozenset({"/api/v1/healthz"})
# Where the scope keeps the id of the key, for the log.
KEY_ID = "tinker_engine.key_id"


class KeyGuard:
    """ASGI middleware that lets requests with a known key through."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keyring,
        links: LinkSigner,
        open_paths: frozenset[str] = OPEN_PATHS,
    ) -> None:
        self._app = app
        self._links = links
        self._keys = keys
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        is_link = scope["path"].startswith(LINKS)
        if is_link and self._links.is_valid(scope["path"], scope["query_string"]):
            await self._app(scope, receive, send)
            return
        caller = await self._keys.caller(_given(scope))
        if caller is not None and not is_link:
            scope[KEY_ID] = caller.owner
            with acting_for(caller):
                await self._app(scope, receive, send)
            return
        error = AuthenticationError(
            "the link has expired or is not one of this server; ask for a new one"
            if is_link
            else "the API key is missing or unknown; send the server's key as X-API-Key or "
            "as a bearer token (SDKs take it from api_key, TINKER_API_KEY or OPENAI_API_KEY)"
        )
        await error_response(error, scope["path"])(scope, receive, send)


def _given(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return value
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return b""
