"""Sending packages to the service: what was promised and no more, and room for everybody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from market_packages import Shelf, stranger
from market_service import HTTP, ask, serving

from tensafe.errors import MarketplaceError
from tensafe.marketplace import publish
from tensafe.marketplace.client import ServiceMarketplace
from tensafe.tgsp import KeyPair, package_digest


def test_an_upload_is_what_was_promised(
    url: str, shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    package = shelf.put(tmp_path, "sorter", ada).read_bytes()
    digest = package_digest(tmp_path / "sorter.tgsp")
    ServiceMarketplace(url).register(ada)

    def send(body: bytes, size: int = len(package)) -> httpx.Response:
        fields = {"package_digest": digest, "size_bytes": str(size)}
        begun = ask(url, ada, "upload", "/uploads", fields=fields).json()
        return HTTP.put(f"{url}/api/v1/uploads/{begun['upload']}", content=body)

    assert send(package[:-1]).status_code == 400
    assert send(package + b"x").status_code == 413
    assert send(package[:-1] + b"\0").status_code == 400
    assert HTTP.put(f"{url}/api/v1/uploads/none", content=package).status_code == 404
    assert not list((tmp_path / "market").rglob("*.partial"))
    assert send(package).status_code == 201
    assert not list((tmp_path / "market").rglob("*.partial"))


def test_limits(shelf: Shelf, ada: KeyPair, home: Path, tmp_path: Path) -> None:
    package = shelf.put(tmp_path, "sorter", ada)
    with serving(
        tmp_path / "small", shelf.base, max_package_bytes=10_000, uploads_per_day=1,
        reads_per_minute=5,
    ) as host:  # fmt: skip
        with pytest.raises(MarketplaceError, match="at most 10000 are taken"):
            publish(package, host.url, signer=ada)
        fields = {"package_digest": "0" * 64, "size_bytes": "10"}
        assert ask(host.url, ada, "upload", "/uploads", fields=fields).status_code == 201
        assert ask(host.url, ada, "upload", "/uploads", fields=fields).status_code == 429
        assert HTTP.post(f"{host.url}/api/v1/yanks", content=b"x" * 70_000).status_code == 413
        for _ in range(200):
            answer = HTTP.get(f"{host.url}/api/v1/info")
            if answer.status_code == 429:
                break
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert HTTP.get(f"{host.url}/healthz").status_code == 200


def test_one_creator_leaves_room_for_the_others(
    shelf: Shelf, ada: KeyPair, home: Path, tmp_path: Path
) -> None:
    package = shelf.put(tmp_path, "sorter", ada)
    fields = {
        "package_digest": package_digest(package),
        "size_bytes": str(package.stat().st_size),
    }
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        data = package.read_bytes()
        yield data[:1000]
        assert go_on.wait(60)
        yield data[1000:]

    with serving(tmp_path / "market", shelf.base, uploads_at_once_per_creator=1) as host:
        ServiceMarketplace(host.url).register(ada)
        first, second = (
            ask(host.url, ada, "upload", "/uploads", fields=fields).json()["upload"]
            for _ in range(2)
        )
        uploads = f"{host.url}/api/v1/uploads"
        with ThreadPoolExecutor() as pool:
            sent = pool.submit(HTTP.put, f"{uploads}/{first}", content=slowly())
            try:
                until(lambda: any((tmp_path / "market").rglob("*.partial")))
                again = HTTP.put(f"{uploads}/{second}", content=package.read_bytes())
                assert again.status_code == 429
                assert "you are uploading already" in again.json()["error"]
                eve = stranger("Eve")
                other = shelf.put(tmp_path, "greetings", eve)
                assert publish(other, host.url, signer=eve).is_new
            finally:
                go_on.set()
            assert sent.result().status_code == 201
        # Done is done: the next may come.
        assert publish(shelf.put(tmp_path, "adder", ada), host.url, signer=ada).is_new


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_comes_too_often_is_told_so_whatever_its_size(
    shelf: Shelf, home: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "busy", shelf.base, writes_per_minute=1) as host:
        url = f"{host.url}/api/v1/uploads/none"
        large = b"x" * 200_000
        assert HTTP.put(url, content=large).status_code == 404
        answer = HTTP.put(url, content=large)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1


def test_a_client_comes_again_when_it_was_told_to(
    shelf: Shelf, ada: KeyPair, home: Path, tmp_path: Path
) -> None:
    package = shelf.put(tmp_path, "sorter", ada)
    with serving(tmp_path / "slow", shelf.base, writes_per_minute=30) as host:
        for _ in range(30):
            HTTP.post(f"{host.url}/api/v1/yanks", content=b"{}")
        publish(package, host.url, signer=ada)
        assert HTTP.get(f"{host.url}/api/v1/info").status_code == 200
