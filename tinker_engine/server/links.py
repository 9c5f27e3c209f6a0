"""Links that open one file without an API key, until they expire.

SDKs download checkpoints with plain HTTP from an address that the server hands out. The address
carries its expiry and an HMAC-SHA256 over path and expiry, keyed by the server's API key; nothing
else can be reached with it.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import parse_qs, quote, urlencode

PREFIX = "/api/v1/links/"
LIFETIME_S = 3600


class LinkSigner:
    """Makes and checks links; the same keys make the same links in every process."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        if not keys:
            raise ValueError("links need at least one API key to be signed with")
        self._secrets = tuple(
            hmac.digest(key.encode(), b"tinker-engine links v1", "sha256") for key in keys
        )

    def link(self, base_url: str, place: str) -> tuple[str, int]:
        """Address of a place under the prefix, and when it expires (seconds since the epoch)."""
        expires = int(time.time()) + LIFETIME_S
        path = PREFIX + place
        query = urlencode(
            {"expires": expires, "signature": _signature(self._secrets[0], path, expires)}
        )
        return f"{base_url.rstrip('/')}{quote(path)}?{query}", expires

    def is_valid(self, path: str, query: bytes) -> bool:
        """Whether a request for a path comes with a signature of this server that still holds."""
        given = parse_qs(query.decode("latin-1"))
        expires, signature = (given.get(name, [""])[0] for name in ("expires", "signature"))
        if not path.startswith(PREFIX) or not expires.isascii() or not expires.isdigit():
            return False
        matches = [
            hmac.compare_digest(signature.encode(), _signature(s, path, int(expires)).encode())
            for s in self._secrets
        ]
        return any(matches) and int(expires) > time.time()


def _signature(secret: bytes, path: str, expires: int) -> str:
    return hmac.new(secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
