"""The part of the OCI distribution API that packages need, over HTTPS.

Owns requests, the two ways of logging in (Basic, and a Bearer token from the realm that the
registry names) and the check of every digest: a blob or manifest that isn't what its digest says
is an error, and nothing larger than announced is read. Credentials go to the registry and the
token realm that it names itself (not one that a host it redirects to names), never over an
unencrypted connection to another machine. Lists of names are whole or an error.
Source: opencontainers/distribution-spec 1.1, and its token authentication.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urljoin, urlsplit

import httpx

from tensafe.errors import MarketplaceError, VerificationError
from tensafe.marketplace.answers import opened, raw_chunks, read_bounded

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MAX_OCI_MANIFEST_BYTES = 4 * 1024 * 1024
USER_VARIABLE, PASSWORD_VARIABLE = "TENSAFE_OCI_USERNAME", "TENSAFE_OCI_PASSWORD"
REGISTRY_VARIABLE = "TENSAFE_OCI_REGISTRY"
PLAIN_VARIABLE = "TENSAFE_OCI_PLAIN_HTTP"
_CHUNK_BYTES = 1 << 20
_PAGES, _PAGE_SIZE = 20, 100
_MAX_ANSWER_BYTES = 1 << 20
_CHALLENGE = re.compile(r'([a-z_]+)="([^"]*)"')
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


class NotThereError(MarketplaceError):
    """The registry says that it has nothing of that name."""


class NotAPackageError(MarketplaceError):
    """What stands there is something else than a package, such as a container image."""


@dataclass(frozen=True)
class Blob:
    """A descriptor: what is at a digest, and how large it is."""

    media_type: str
    digest: str
    size: int

    def as_dict(self) -> dict[str, object]:
        """The descriptor as an OCI manifest holds it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class OciRegistry:
    """One repository's blobs, manifests and tags on one registry."""

    def __init__(self, host: str, *, client: httpx.Client | None = None) -> None:
        self.host = host
        self._base = f"{'http' if is_plain(host) else 'https'}://{host}"
        self._client = client or httpx.Client(timeout=_TIMEOUT)
        self._tokens: dict[str, str] = {}

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether the registry holds a blob."""
        url = f"{self._base}/v2/{repository}/blobs/{digest}"
        return self._ask("HEAD", url, repository, ok=(200, 404)).status_code == 200

    def put_blob(self, repository: str, blob: Blob, source: BinaryIO, start: int = 0) -> None:
        """Upload `blob.size` bytes of a file from `start` on, unless they are there."""
        if self.has_blob(repository, blob.digest):
            return
        url = f"{self._base}/v2/{repository}/blobs/uploads/"
        begun = self._ask("POST", url, repository, push=True, ok=(202,))
        location = _read_url(begun.headers.get("location", ""), url)
        target = str(location.copy_merge_params({"digest": blob.digest}))
        self._ask(
            "PUT",
            target,
            repository,
            push=True,
            ok=(201,),
            content=lambda: _chunks(source, start, blob.size),
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(blob.size),
            },
        )

    def put_manifest(self, repository: str, tag: str, manifest: bytes) -> None:
        """Store a manifest under a tag."""
        url = f"{self._base}/v2/{repository}/manifests/{tag}"
        headers = {"Content-Type": IMAGE_MANIFEST}
        self._ask(
            "PUT", url, repository, push=True, ok=(201,), content=lambda: manifest, headers=headers
        )

    def manifest(self, repository: str, reference: str) -> tuple[str, dict[str, Any]]:
        """The digest and content of a manifest, by tag or digest.

        Raises:
            VerificationError: its bytes are not those of its digest.
            NotThereError: there is none.
            NotAPackageError: it is no image manifest.
            MarketplaceError: the registry can't be asked.
        """
        url = f"{self._base}/v2/{repository}/manifests/{reference}"
        answer = self._ask(
            "GET", url, repository, headers={"Accept": IMAGE_MANIFEST}, limit=MAX_OCI_MANIFEST_BYTES
        )
        digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
        named = reference if reference.startswith("sha256:") else digest
        stated = answer.headers.get("docker-content-digest", digest)
        if {digest} != {named, stated}:
            raise VerificationError(f"{self.host} gave another manifest than {reference} names")
        value = _object(answer, f"{self.host}/{repository}:{reference}")
        if value.get("schemaVersion") != 2 or value.get("mediaType", IMAGE_MANIFEST) != (
            IMAGE_MANIFEST
        ):
            raise NotAPackageError(f"{self.host}/{repository}:{reference} is no image manifest")
        return digest, value

    def blob(self, repository: str, blob: Blob) -> Iterator[bytes]:
        """A blob's bytes in chunks; the last is given only if the digest is right.

        Raises:
            VerificationError: more or other bytes than the descriptor says.
        """
        url = f"{self._base}/v2/{repository}/blobs/{blob.digest}"
        hashed, size = hashlib.sha256(), 0
        held = b""
        try:
            with self._open_blob(url, repository) as answer:
                for chunk in raw_chunks(answer, self.host):
                    size += len(chunk)
                    if size > blob.size:
                        raise VerificationError(f"{blob.digest} is larger than {blob.size} bytes")
                    hashed.update(chunk)
                    if held:
                        yield held
                    held = chunk
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if size != blob.size or f"sha256:{hashed.hexdigest()}" != blob.digest:
            raise VerificationError(f"{self.host} gave other bytes than {blob.digest} names")
        if held:
            yield held

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository; none when it doesn't exist."""
        return self._names(f"/v2/{repository}/tags/list", "tags", repository)

    def repositories(self) -> list[str]:
        """The repositories that the registry tells of."""
        return self._names("/v2/_catalog", "repositories", "")

    def _names(self, path: str, field: str, repository: str) -> list[str]:
        url, names = f"{self._base}{path}?n={_PAGE_SIZE}", list[str]()
        for _ in range(_PAGES):
            ok = (200, 404) if repository else (200,)
            answer = self._ask("GET", url, repository, ok=ok, catalog=not repository)
            if answer.status_code == 404:
                return names
            found = _object(answer, path).get(field) or []
            names += [name for name in cast("list[object]", found) if isinstance(name, str)]
            following = answer.links.get("next", {}).get("url")
            if not following:
                return names
            url = str(_read_url(following, url))
            if _origin(url) != _origin(self._base):
                raise MarketplaceError(f"{self.host} continues its list of {field} elsewhere")
        # Half a list would make a number look free that isn't.
        raise MarketplaceError(f"{self.host} lists more than {_PAGES * _PAGE_SIZE} {field}")

    def _ask(
        self,
        method: str,
        url: str,
        repository: str,
        *,
        ok: tuple[int, ...] = (200,),
        push: bool = False,
        catalog: bool = False,
        content: Any = None,
        headers: dict[str, str] | None = None,
        limit: int = _MAX_ANSWER_BYTES,
    ) -> httpx.Response:
        """One request, and again with credentials when the registry asks for them."""
        scope = "registry:catalog:*" if catalog else _scope(repository, push)
        try:
            answer = self._send(method, url, scope, content, headers, limit)
            # Whoever the registry redirects to must not say where credentials go.
            is_own = _origin(str(answer.request.url)) == _origin(self._base)
            if answer.status_code == 401 and is_own and self._log_in(answer, scope):
                answer = self._send(method, url, scope, content, headers, limit)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if answer.status_code not in ok:
            kind = NotThereError if answer.status_code == 404 else MarketplaceError
            raise kind(self._fault(answer, method))
        return answer

    def _send(
        self,
        method: str,
        url: str,
        scope: str,
        content: Any,
        headers: dict[str, str] | None,
        limit: int,
    ) -> httpx.Response:
        sent = {**(headers or {}), **self._authorization(url, scope)}
        body = None if content is None else content()
        follow = method in ("GET", "HEAD")
        request = self._client.build_request(method, url, content=body, headers=sent)
        return self._read(request, follow, limit)

    def _read(self, request: httpx.Request, follow: bool, limit: int) -> httpx.Response:
        """The answer to a request, of at most `limit` bytes."""
        with opened(self._client, request, follow=follow) as answer:
            content = read_bounded(answer, limit, self.host)
        return httpx.Response(
            answer.status_code,
            headers=[
                (name, value)
                for name, value in answer.headers.items()
                if name.lower() not in ("content-encoding", "transfer-encoding", "content-length")
            ],
            content=content,
            request=answer.request,
        )

    @contextlib.contextmanager
    def _open_blob(self, url: str, repository: str) -> Generator[httpx.Response]:
        # Asked for first, so that a login happens before the stream is opened.
        self._ask("HEAD", url, repository)
        headers = self._authorization(url, _scope(repository, False))
        request = self._client.build_request("GET", url, headers=headers)
        with opened(self._client, request, follow=True) as answer:
            if answer.status_code != 200:
                raise MarketplaceError(
                    f"the registry {self.host} answers {answer.status_code} to a blob"
                )
            yield answer

    def _authorization(self, url: str, scope: str) -> dict[str, str]:
        value = self._tokens.get(scope) or self._tokens.get("")
        if value is None or _origin(url) != _origin(self._base):
            return {}
        return {"Authorization": value}

    def _log_in(self, answer: httpx.Response, scope: str) -> bool:
        challenge = answer.headers.get("www-authenticate", "")
        kind = challenge.split(" ", 1)[0].lower()
        credentials = find_credentials(self.host)
        basic = None if credentials is None else _basic(*credentials)
        if kind == "basic":
            if basic is None or self._tokens.get("") == basic:
                return False
            self._require_private(self._base)
            self._tokens[""] = basic
            return True
        if kind != "bearer":
            return False
        told = dict(_CHALLENGE.findall(challenge))
        realm = str(_read_url(told.get("realm", "")))
        if urlsplit(realm).scheme not in ("http", "https"):
            return False
        headers = {}
        if basic is not None:
            # The token that the realm gives for them goes to the registry.
            self._require_private(realm)
            self._require_private(self._base)
            headers["Authorization"] = basic
        query = {"scope": told.get("scope", scope)}
        if "service" in told:
            query["service"] = told["service"]
        asked = self._client.build_request("GET", realm, params=query, headers=headers)
        given = self._read(asked, False, _MAX_ANSWER_BYTES)
        if given.status_code != 200:
            raise MarketplaceError(
                f"{self.host}: the login at {urlsplit(realm).netloc} was refused "
                f"({given.status_code}): {_LOGIN_ADVICE}"
            )
        value = _object(given, realm)
        token = value.get("token") or value.get("access_token")
        if not isinstance(token, str) or not token.isprintable():
            raise MarketplaceError(f"{self.host}: the login gave no token")
        self._tokens[scope] = f"Bearer {token}"
        return True

    def _require_private(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise MarketplaceError(
                f"{parts.netloc} asks for credentials over an unencrypted connection: refused"
            )

    def _unreachable(self, error: httpx.HTTPError | httpx.InvalidURL) -> MarketplaceError:
        return MarketplaceError(
            f"the registry {self.host} can't be reached ({error or type(error).__name__}); see "
            f"that it runs, and for one without TLS name it in {PLAIN_VARIABLE}"
        )

    def _fault(self, answer: httpx.Response, method: str) -> str:
        path = urlsplit(str(answer.request.url)).path
        told = ""
        try:
            errors = cast("list[dict[str, object]]", json.loads(answer.content)["errors"])
            told = ": " + "; ".join(str(fault.get("message", ""))[:200] for fault in errors[:3])
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        advice = f"; {_LOGIN_ADVICE}" if answer.status_code in (401, 403) else ""
        status = answer.status_code
        told = "".join(c if c.isprintable() else " " for c in told)
        return f"the registry {self.host} answers {status} to {method} {path}{told}{advice}"


_LOGIN_ADVICE = (
    f"set {USER_VARIABLE} and {PASSWORD_VARIABLE}, with the registry's HOST:PORT in "
    f"{REGISTRY_VARIABLE}, or log in with a container tool, whose config.json is read"
)


def find_credentials(host: str) -> tuple[str, str] | None:
    """User and password for a registry: from the environment, else a container tool's login.

    Those of the environment are for the one registry that the environment names, and no other.
    """
    user, password = os.environ.get(USER_VARIABLE), os.environ.get(PASSWORD_VARIABLE)
    if user and password and os.environ.get(REGISTRY_VARIABLE) == host:
        return user, password
    folder = os.environ.get("DOCKER_CONFIG")
    path = Path(folder) if folder else Path.home() / ".docker"
    try:
        config = cast("dict[str, Any]", json.loads((path / "config.json").read_bytes()))
        encoded = str(config["auths"][host]["auth"])
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (AttributeError, OSError, KeyError, TypeError, ValueError):
        return None
    return (user, password) if user and password else None


def is_plain(host: str) -> bool:
    """Whether a registry is spoken to without TLS: on this machine, or named as such."""
    named = [name.strip() for name in os.environ.get(PLAIN_VARIABLE, "").split(",")]
    return host in named or is_loopback(urlsplit(f"//{host}").hostname or "")


def is_loopback(name: str) -> bool:
    """Whether a host name is this machine."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _chunks(source: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    source.seek(start)
    while size > 0:
        chunk = source.read(min(_CHUNK_BYTES, size))
        if not chunk:
            raise MarketplaceError("the package got shorter while it was read")
        size -= len(chunk)
        yield chunk


def _object(answer: httpx.Response, what: str) -> dict[str, Any]:
    try:
        value = json.loads(answer.content)
    except ValueError as error:
        raise MarketplaceError(f"{what}: the answer is not JSON") from error
    if not isinstance(value, dict):
        raise MarketplaceError(f"{what}: the answer is no JSON object")
    return cast("dict[str, Any]", value)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _scope(repository: str, push: bool) -> str:
    return f"repository:{repository}:{'pull,push' if push else 'pull'}"


def _read_url(text: str, base: str = "") -> httpx.URL:
    """A URL from a registry's answer, which may be relative to `base`."""
    try:
        return httpx.URL(urljoin(base, text))
    except (httpx.InvalidURL, ValueError) as error:
        raise MarketplaceError(f"the registry names a URL that can't be read: {error}") from error


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port
