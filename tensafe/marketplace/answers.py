"""Answers of marketplaces and registries, read as they were sent.

Sizes are bounded in the bytes that arrive, so nothing here unpacks anything: an answer under a
content encoding, which nobody asked for, is refused. A few kilobytes could unpack to gigabytes
before a reader sees the first of them, and httpx unpacks whatever libraries are installed for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

import httpx

from tensafe.errors import MarketplaceError

_CHUNK_BYTES = 1 << 20
_MOST_REDIRECTS = 10


@contextlib.contextmanager
def opened(
    client: httpx.Client, request: httpx.Request, *, follow: bool = False
) -> Generator[httpx.Response]:
    """The answer to a request, its body unread; `follow` goes where it redirects to.

    httpx's own following reads the whole body of each redirect, of whatever size.

    Raises:
        httpx.HTTPError: nobody answers, or redirects go on and on.
    """
    request.headers["Accept-Encoding"] = "identity"
    for _ in range(_MOST_REDIRECTS + 1):
        answer = client.send(request, stream=True, follow_redirects=False)
        try:
            if not follow or answer.next_request is None:
                yield answer
                return
        finally:
            answer.close()
        request = answer.next_request
    raise httpx.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects", request=request)


def raw_chunks(answer: httpx.Response, who: str) -> Iterator[bytes]:
    """The body in chunks of at most 1 MiB, as it was sent.

    Raises:
        MarketplaceError: the answer is under a content encoding.
    """
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise MarketplaceError(
            f"{who} sends its answer compressed ({encoding[:40]!r}), though plain bytes were asked "
            "for: refused, since its size is unknown; ask who runs it to heed Accept-Encoding"
        )
    return answer.iter_raw(_CHUNK_BYTES)


def read_bounded(answer: httpx.Response, limit: int, who: str) -> bytes:
    """The whole body, of at most `limit` bytes.

    Raises:
        MarketplaceError: it is longer, or under a content encoding.
    """
    parts, size = list[bytes](), 0
    for part in raw_chunks(answer, who):
        size += len(part)
        if size > limit:
            raise MarketplaceError(f"{who} answers with more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)
