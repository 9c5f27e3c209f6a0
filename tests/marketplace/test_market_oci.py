"""Packages in a real OCI registry: pushed as layers, pulled verified, refused when changed."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from market_packages import Shelf, stranger

from evidence._oci_registry import registry_program, running_registry
from tensafe.errors import MarketplaceError, UsageError, VerificationError
from tensafe.marketplace import publish, pull, search
from tensafe.marketplace.oci import MANIFEST_LAYER, PAYLOAD_LAYER, SKILL_LAYER
from tensafe.tgsp import KeyPair

# `correct horse`, hashed with bcrypt, the only kind that the registry takes.
HTPASSWD = "reader:$2b$04$x0a/6VxUj3UZpoxjKHhkyu5Ftpyv3.8o5pzssOhw4im.R0Rb05aE6\n"


@pytest.fixture(scope="module")
def registry() -> Iterator[tuple[str, Path]]:
    if registry_program() is None:
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    with running_registry() as running:
        yield running


def test_pushed_as_three_layers_and_pulled_the_same(
    registry: tuple[str, Path], shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    host, _ = registry
    place = f"oci://{host}/team/sorter"
    package = shelf.put(tmp_path, "sorter", ada, description="Sorts words.", licence="MIT")
    done = publish(package, place)
    assert (done.listing.version, done.is_new) == ("1", True)
    assert publish(package, place).is_new is False
    stored = httpx.get(
        f"http://{host}/v2/team/sorter/manifests/latest",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
    ).json()
    kinds = [layer["mediaType"] for layer in stored["layers"]]
    assert kinds == [MANIFEST_LAYER, PAYLOAD_LAYER, SKILL_LAYER]
    assert stored["layers"][1]["digest"] == f"sha256:{done.listing.adapter_digest}"
    for number, reference in enumerate((place, f"{place}:1", f"{place}:latest")):
        out = tmp_path / f"{number}.tgsp"
        assert pull(reference, out).verification.is_trusted
        assert out.read_bytes() == package.read_bytes()
    by_digest = pull(f"sha256:{done.listing.package_digest}", tmp_path / "d.tgsp", place)
    assert by_digest.listing.licence == "MIT"
    publish(shelf.put(tmp_path, "sorter", ada, score=0.97), place)
    assert pull("sorter", tmp_path / "two.tgsp", place).listing.score == 0.97
    assert pull("sorter@1", tmp_path / "one.tgsp", place).listing.version == "1"
    with pytest.raises(MarketplaceError, match="signed with another key"):
        publish(shelf.put(tmp_path, "sorter", stranger()), place)
    with pytest.raises(MarketplaceError, match="holds sorter, not"):
        pull("other", tmp_path / "no.tgsp", place)
    with pytest.raises(MarketplaceError, match="404"):
        pull(f"{place}:nothing", tmp_path / "no.tgsp")


def test_a_whole_registry_is_searched(
    registry: tuple[str, Path], shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    place = f"oci://{registry[0]}"
    publish(shelf.put(tmp_path, "invoices", ada, description="Reads invoice totals."), place)
    publish(shelf.put(tmp_path, "greetings", ada, description="Greets people."), place)
    assert [hit.name for hit in search("invoice", place)] == ["invoices"]
    assert pull("greetings", tmp_path / "g.tgsp", place).verification.is_trusted


def test_a_blob_changed_in_the_registry_is_not_kept(
    registry: tuple[str, Path], shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    host, data = registry
    place = f"oci://{host}/changed"
    listing = publish(shelf.put(tmp_path, "changed", ada, score=0.5), place).listing
    digest = listing.adapter_digest
    blob = data / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    whole = blob.read_bytes()
    try:
        for content in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1], whole + b"\0"):
            blob.write_bytes(content)
            with pytest.raises((VerificationError, MarketplaceError)):
                pull(place, tmp_path / "got.tgsp")
            assert not (tmp_path / "got.tgsp").exists()
    finally:
        blob.write_bytes(whole)
    assert pull(place, tmp_path / "got.tgsp").verification.is_trusted


def test_other_artifacts_are_not_packages(
    registry: tuple[str, Path], shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    host, _ = registry
    place = f"oci://{host}/mixed"
    publish(shelf.put(tmp_path, "mixed", ada), place)
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    url = f"http://{host}/v2/mixed/manifests"
    stored = httpx.get(f"{url}/1", headers=accept).json()

    def put(tag: str, **changes: Any) -> None:
        sent = httpx.put(
            f"{url}/{tag}",
            content=json.dumps({**stored, **changes}),
            headers={"Content-Type": accept["Accept"]},
        )
        assert sent.status_code == 201

    put("no-skill", layers=stored["layers"][:2])
    put("no-payload", layers=stored["layers"][:1])
    put("twice", layers=[*stored["layers"], stored["layers"][0]])
    other = {**stored["annotations"], "org.tensafe.tgsp.package-digest": "sha256:" + "0" * 64}
    put("misnamed", annotations=other)
    manifest, payload, *rest = stored["layers"]
    put("endless", layers=[manifest, {**payload, "size": 3 << 30}, *rest])
    for tag, words in (
        ("no-skill", "has no layer"),
        ("no-payload", "not a package"),
        ("twice", "not a package"),
        ("misnamed", "gave other bytes"),
        ("endless", "the load gate lets"),
    ):
        with pytest.raises((VerificationError, MarketplaceError), match=words):
            pull(f"{place}:{tag}", tmp_path / "got.tgsp")
        assert not (tmp_path / "got.tgsp").exists()


def test_a_registry_with_a_login(
    shelf: Shelf, ada: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if registry_program() is None:
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running_registry(HTPASSWD) as (host, _):
        package, place = shelf.put(tmp_path, "sorter", ada), f"oci://{host}/sorter"
        with pytest.raises(MarketplaceError, match="TENSAFE_OCI_USERNAME"):
            publish(package, place)
        monkeypatch.setenv("TENSAFE_OCI_USERNAME", "reader")
        monkeypatch.setenv("TENSAFE_OCI_REGISTRY", host)
        monkeypatch.setenv("TENSAFE_OCI_PASSWORD", "wrong horse")
        with pytest.raises(MarketplaceError, match="401"):
            publish(package, place)
        monkeypatch.setenv("TENSAFE_OCI_PASSWORD", "correct horse")
        publish(package, place)
        assert pull(place, tmp_path / "got.tgsp").verification.is_trusted


class Asked(NamedTuple):
    """One request that a false registry was sent."""

    method: str
    path: str
    authorization: str


Answer = tuple[int, object, dict[str, str]]


@contextlib.contextmanager
def answering(answer: Callable[[Asked], Answer]) -> Generator[tuple[str, list[Asked]]]:
    """`HOST:PORT` of a false registry that answers as told, and what it was asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(Asked(self.command, self.path, self.headers.get("Authorization", "")))
            status, value, headers = answer(asked[-1])
            body = json.dumps(value).encode()
            self.send_response(status)
            for name, words in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, words)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_address[1]}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TENSAFE_OCI_REGISTRY", host)
            yield host, asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSAFE_OCI_USERNAME", "u")
    monkeypatch.setenv("TENSAFE_OCI_PASSWORD", "p")


def test_credentials_are_for_the_registry_that_is_named_with_them(
    home: Path, credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(asked: Asked) -> Answer:
        return 401, {}, {"WWW-Authenticate": 'Basic realm="x"'}

    with answering(answer) as (host, asked):
        for named in ("", "registry.example:443"):
            monkeypatch.setenv("TENSAFE_OCI_REGISTRY", named)
            with pytest.raises(MarketplaceError, match="TENSAFE_OCI_REGISTRY"):
                search("", f"oci://{host}/x")
    assert {one.authorization for one in asked} == {""}


def test_a_registry_that_wants_a_token(home: Path, credentials: None) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/token?"):
            return 200, {"token": "abc"}, {}
        if asked.authorization != "Bearer abc":
            challenge = f'Bearer realm="http://{host}/token",service="r",scope="repository:x:pull"'
            return 401, {}, {"WWW-Authenticate": challenge}
        return 200, {"name": "x", "tags": []}, {}

    with answering(answer) as (host, asked):
        assert search("", f"oci://{host}/x") == []
    assert "scope=repository%3Ax%3Apull" in asked[1].path
    assert "service=r" in asked[1].path
    assert asked[1].authorization == "Basic dTpw"
    assert asked[2].authorization == "Bearer abc"


@pytest.mark.parametrize("kind", ["Basic", "Bearer"])
def test_a_host_that_the_registry_leads_to_gets_no_credentials(
    home: Path, credentials: None, kind: str
) -> None:
    def greedy(asked: Asked) -> Answer:
        return 401, {}, {"WWW-Authenticate": f'{kind} realm="http://{elsewhere}/token"'}

    with (
        answering(greedy) as (elsewhere, told),
        answering(lambda asked: (307, {}, {"Location": f"http://{elsewhere}/x"})) as (host, _),
        pytest.raises(MarketplaceError, match="401"),
    ):
        search("", f"oci://{host}/x")
    assert [(request.path, request.authorization) for request in told] == [("/x", "")]


def test_credentials_do_not_go_to_a_realm_without_tls(home: Path, credentials: None) -> None:
    def answer(asked: Asked) -> Answer:
        return 401, {}, {"WWW-Authenticate": 'Bearer realm="http://realm.example/token"'}

    with (
        answering(answer) as (host, _),
        pytest.raises(MarketplaceError, match="over an unencrypted connection"),
    ):
        search("", f"oci://{host}/x")


def test_a_registry_that_fails_is_not_an_empty_one(
    shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    """A version that can't be read now has an owner and a number all the same."""

    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/v2/x/tags/list"):
            return 200, {"tags": ["1"]}, {}
        return (503, {}, {}) if "/manifests/" in asked.path else (404, {}, {})

    package = shelf.put(tmp_path, "sorter", ada)
    with answering(answer) as (host, asked):
        for act in (
            lambda: publish(package, f"oci://{host}/x"),
            lambda: search("", f"oci://{host}/x"),
        ):
            with pytest.raises(MarketplaceError, match="answers 503"):
                act()
    assert {request.method for request in asked} == {"GET"}


def test_a_list_that_is_not_whole_is_an_error(home: Path) -> None:
    def answer(asked: Asked) -> Answer:
        return 200, {"tags": ["1"]}, {"Link": f'<http://{place[0]}/v2/x/tags/list?n=1>; rel="next"'}

    place = ["elsewhere.example"]
    with answering(answer) as (host, _):
        with pytest.raises(MarketplaceError, match="continues its list of tags elsewhere"):
            search("", f"oci://{host}/x")
        place[0] = host
        with pytest.raises(MarketplaceError, match="lists more than"):
            search("", f"oci://{host}/x")


def test_tags_that_are_none_are_not_asked_for(home: Path) -> None:
    odd = ["\u00b2", "../../x", "\x1b[31m", "a/b", "", "x" * 129, 7, None]

    def answer(asked: Asked) -> Answer:
        return 200, {"tags": odd, "repositories": ["x", "../x", "\x1b[31m", "X"]}, {}

    with answering(answer) as (host, asked):
        assert search("", f"oci://{host}") == []
    assert [request.path.partition("?")[0] for request in asked] == [
        "/v2/_catalog", "/v2/x/tags/list"
    ]  # fmt: skip


def test_no_push_takes_what_stands_there_out_of_reach(
    registry: tuple[str, Path], shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    host, _ = registry
    place = f"oci://{host}/kept"
    first = publish(shelf.put(tmp_path, "sorter", ada), f"{place}:latest").listing
    with pytest.raises(MarketplaceError, match="signed with another key"):
        publish(shelf.put(tmp_path, "sorter", stranger()), place)
    assert first.version == "latest"
    assert publish(shelf.put(tmp_path, "sorter", ada), place).listing.version == "1"
    with pytest.raises(MarketplaceError, match="version 1 stands there"):
        publish(shelf.put(tmp_path, "sorter", ada, score=0.4), f"{place}:1")
    accept = "application/vnd.oci.image.manifest.v1+json"
    url = f"http://{host}/v2/kept/manifests"
    image = httpx.get(f"{url}/1", headers={"Accept": accept}).json()
    image["layers"] = image["layers"][:1]
    for tag in ("7", "latest"):
        httpx.put(f"{url}/{tag}", content=json.dumps(image), headers={"Content-Type": accept})
    package = shelf.put(tmp_path, "sorter", ada, score=0.6)
    with pytest.raises(MarketplaceError, match=r"is not a package.*name another tag"):
        publish(package, place)
    httpx.put(
        f"{url}/latest",
        content=httpx.get(f"{url}/1", headers={"Accept": accept}).content,
        headers={"Content-Type": accept},
    )
    assert publish(package, place).listing.version == "8"


@pytest.mark.parametrize("place", ["oci://", "oci://h/UPPER", "oci://h/a/../b", "oci://h/a:t:u"])
def test_places_that_cannot_be_read(home: Path, place: str) -> None:
    with pytest.raises(UsageError):
        search("", place)


def test_nothing_answers(home: Path) -> None:
    with pytest.raises(MarketplaceError, match="can't be reached"):
        search("", "oci://127.0.0.1:1/x")
