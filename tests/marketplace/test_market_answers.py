"""Answers of marketplaces and registries stay within bounds, whatever they say they are."""

from __future__ import annotations

import contextlib
import gzip
import threading
import tracemalloc
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tensafe.errors import MarketplaceError
from tensafe.marketplace import search
from tensafe.marketplace.client import ServiceMarketplace
from tensafe.marketplace.oci_registry import Blob, OciRegistry
from tensafe.marketplace.records import Listing

_UNPACKED_BYTES, _PEAK_BYTES = 128 << 20, 24 << 20
BOMB = gzip.compress(bytes(_UNPACKED_BYTES), 9)
Answer = tuple[int, dict[str, str], bytes]
PACKED: Answer = (200, {"Content-Encoding": "gzip"}, BOMB)
DIGEST, SIZE_BYTES = "a" * 64, 4096


@contextlib.contextmanager
def sending(answer: Callable[[str, str], Answer]) -> Generator[tuple[str, list[str]]]:
    """`HOST:PORT` of a server that answers by method and path, and the encodings it was offered."""
    offered: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            offered.append(self.headers.get("Accept-Encoding", ""))
            status, headers, body = answer(self.command, self.path)
            self.send_response(status)
            for name, words in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, words)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", offered
    finally:
        server.shutdown()
        server.server_close()


def read_blob(host: str) -> None:
    for _ in OciRegistry(host).blob("x", Blob("a/b", f"sha256:{DIGEST}", SIZE_BYTES)):
        pass


def fetch(host: str, target: Path) -> None:
    target.touch()
    listing = Listing(
        "x", "1", DIGEST, DIGEST, SIZE_BYTES, "general", "nano", "llama", 8, "", (), (), (), None,
        None, None, None, None, None, None, "", "Ada", "", DIGEST, "", "",
    )  # fmt: skip
    ServiceMarketplace(f"http://{host}").fetch(listing, target)


@pytest.mark.parametrize("act", ["search", "list tags", "fetch", "read a blob", "refused fetch"])
def test_a_compressed_answer_is_refused_unread(act: str, tmp_path: Path) -> None:
    def answer(method: str, path: str) -> Answer:
        if method == "HEAD":
            return 200, {}, b""
        return (500, *PACKED[1:]) if act == "refused fetch" else PACKED

    with sending(answer) as (host, offered):
        acts: dict[str, Callable[[], object]] = {
            "search": lambda: search("", f"http://{host}"),
            "list tags": lambda: search("", f"oci://{host}/x"),
            "fetch": lambda: fetch(host, tmp_path / "got"),
            "refused fetch": lambda: fetch(host, tmp_path / "got"),
            "read a blob": lambda: read_blob(host),
        }
        tracemalloc.start()
        try:
            with pytest.raises(MarketplaceError, match="compressed"):
                acts[act]()
            assert tracemalloc.get_traced_memory()[1] < _PEAK_BYTES
        finally:
            tracemalloc.stop()
    assert set(offered) == {"identity"}


def test_the_body_of_a_redirect_is_not_read(tmp_path: Path) -> None:
    def answer(method: str, path: str) -> Answer:
        if path == "/there":
            return 200, {}, b'{"name": "x", "tags": []}'
        return 307, {"Location": "/there", "Content-Encoding": "gzip"}, BOMB

    with sending(answer) as (host, _):
        tracemalloc.start()
        try:
            assert search("", f"oci://{host}/x") == []
            assert tracemalloc.get_traced_memory()[1] < _PEAK_BYTES
        finally:
            tracemalloc.stop()
    with (
        sending(lambda method, path: (307, {"Location": "/on"}, b"")) as (host, _),
        pytest.raises(MarketplaceError, match="redirects"),
    ):
        search("", f"oci://{host}/x")


def test_more_than_was_announced_is_an_error(tmp_path: Path) -> None:
    with (
        sending(lambda method, path: (200, {}, bytes(5000))) as (host, _),
        pytest.raises(MarketplaceError, match="more than the 4096 bytes"),
    ):
        fetch(host, tmp_path / "got")
    with (
        sending(lambda method, path: (200, {}, bytes(9 << 20))) as (host, _),
        pytest.raises(MarketplaceError, match="more than 8388608 bytes"),
    ):
        search("", f"http://{host}")
