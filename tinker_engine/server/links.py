"""Links that open one file without an API key, until they expire.

SDKs download checkpoints with plain HTTP from an address that the server hands out. The address
carries its expiry and an HMAC-SHA256 over path and expiry. Its secret is random and dies with the
process: nothing else can be reached with a link, and no key can be guessed from one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from urllib.parse import parse_qs, quote, urlencode

PREFIX = "/api/v1/links/"
LIFETIME_S = 3600


class LinkSigner:
    """Makes links and checks them."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def link(self, base_url: str, place: str) -> tuple[str, int]:
        """Address of a place under the prefix, and when it expires (seconds since the epoch)."""
        expires = int(time.time()) + LIFETIME_S
        path = PREFIX + place
        query = urlencode({"expires": expires, "signature": self._signature(path, expires)})
        return f"{base_url.rstrip('/')}{quote(path)}?{query}", expires

    def is_valid(self, path: str, query: bytes) -> bool:
        """Whether a request for a path comes with a signature of this server that still holds."""
        given = parse_qs(query.decode("latin-1"))
        expires, signature = (given.get(name, [""])[0] for name in ("expires", "signature"))
        if not (path.startswith(PREFIX) and expires.isascii() and expires.isdigit()):
            return False
        expected = self._signature(path, int(expires))
        is_ours = hmac.compare_digest(signature.encode(), expected.encode())
        return is_ours and int(expires) > time.time()

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(self._secret, f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
